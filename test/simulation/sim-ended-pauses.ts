import type { ShardScope } from '@carillon/core/assignment.ts';
import type { EndedPause, EndedPausePlace } from '@carillon/db/tables/ended-pauses.ts';
import { endIn } from './schedule-rows.ts';
import type { SimDatabase } from './sim-database.ts';

/** `readEndedPauses` of `libs/db/src/tables/ended-pauses.ts`, on the rows of the simulated database. */
export function endedPauses(
  database: SimDatabase,
  scope: ShardScope,
  after: EndedPausePlace | undefined,
  limit: number,
): EndedPause[] {
  const { schedules, ledger, transactions } = database;
  const snapshot = transactions.snapshot();
  const skipped = [...ledger.values()].filter(({ outcome }) => outcome === 'SKIPPED');
  const pauses: EndedPause[] = [];
  for (const schedule of schedules.values()) {
    const version = schedule.versionIn(snapshot);
    if (!version || !database.isIn(scope, schedule)) continue;
    for (const span of schedule.spansIn(snapshot)) {
      const end = endIn(span, snapshot);
      if (span.state !== 'PAUSED' || !end) continue;
      const { fromMs } = span;
      const { toMs } = end;
      const within = skipped.filter(
        (row) => row.schedule === schedule.id && row.nominalMs > fromMs && row.nominalMs <= toMs,
      );
      if (within.some(({ reason }) => reason === 'PAUSED')) continue;
      pauses.push({
        schedule: schedule.id,
        span: span.span,
        revision: span.revision,
        fromMs,
        toMs,
        actor: 'somebody',
        reason: '',
        ...schedule.name,
        anchorMs: version.anchorMs ?? null,
        timing: schedule.revision(span.revision).timing,
        toldMs: within.filter((row) => row.slots === 1).map((row) => row.nominalMs),
      });
    }
  }
  return pauses
    .sort(inOrder)
    .filter((pause) => after === undefined || inOrder(pause, after) > 0)
    .slice(0, limit);
}

function inOrder(a: EndedPausePlace, b: EndedPausePlace): number {
  return a.toMs - b.toMs || a.schedule - b.schedule || a.span - b.span;
}
