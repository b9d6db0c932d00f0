import { gapsBetween, maybeMissed } from './catch-up-rules.ts';
import type { History } from './history.ts';
import type { EndReason, ScheduleRows } from './schedule-rows.ts';
import type { ExpectedSlot } from './schedule-slots.ts';
import type { WrittenLedgerRow } from './sim-database.ts';

/**
 * Whether a slot may have the outcome that a ledger row gives it. Undefined: it may; else why not. Whoever gives slots up for no reason
 * settles them all, and no other rule would notice.
 */
export function objectionTo(
  row: WrittenLedgerRow,
  slot: ExpectedSlot,
  schedule: ScheduleRows,
  history: History,
  toleranceMs: number,
): string | undefined {
  const { plan } = history;
  const { spec } = schedule.revision(row.revision);
  const dueMs = row.revision === slot.span.revision ? slot.dueMs : slot.nominal * 1000;
  const verdicts = plan.verdicts.filter(({ name, modulus, rest }) => {
    const { project, domain, scheduleId } = plan.names[name]!;
    return `${project}/${domain}/${scheduleId}` === schedule.identity && slot.nominal % modulus === rest;
  });
  // What falls due in quarantine is missed, whoever leads.
  const wasQuarantined = dueMs >= (history.troubledSinceMs.get(schedule.id) ?? Number.POSITIVE_INFINITY);
  const wasLive =
    !history.databaseStepsBack &&
    !wasQuarantined &&
    !maybeMissed(gapsBetween(history.termsOf(schedule)), dueMs);
  switch (`${row.outcome} ${row.reason}`) {
    case 'MISSED BEYOND_WINDOW':
    case 'DEAD WINDOW_EXPIRED':
      if (row.highestDatabaseMs + toleranceMs >= dueMs + spec.windowMs) return undefined;
      return `its window had not passed`;
    case 'MISSED UNREADABLE':
      if (!schedule.revision(row.revision).wasUnreadable) return 'its revision could be read';
      if (row.highestDatabaseMs + toleranceMs >= dueMs + spec.windowMs) return undefined;
      return `its window had not passed`;
    case 'MISSED CATCH_UP_NONE':
      if (wasLive) return 'somebody led when it fell due';
      return spec.catchUp !== 'NONE' ? 'its policy is another' : undefined;
    case 'MISSED SUPERSEDED':
      if (wasLive) return 'somebody led when it fell due';
      return spec.catchUp !== 'LATEST' ? 'its policy is another' : undefined;
    case 'MISSED BEYOND_LIMIT':
      if (wasLive) return 'somebody led when it fell due';
      return spec.catchUpLimit === 0 ? 'there is no limit' : undefined;
    case 'SKIPPED PAUSED':
    case 'SKIPPED DEACTIVATED':
    case 'SKIPPED DELETED': {
      const stops = schedule.spans.filter(
        ({ end }) =>
          end?.reason === row.reason && end.seenAtMs !== undefined && end.toMs >= slot.nominal * 1000,
      );
      return stops.length === 0 ? 'there was no such stop' : undefined;
    }
    case 'SKIPPED OVERLAP':
    case 'DEAD OVERLAP':
      // Whether its run was skipped is looked at with the run.
      return spec.overlap === 'ALLOW' && spec.overlapLimit === 0 ? 'its runs may overlap' : undefined;
    case 'DEAD REDRIVE_STOPPED': {
      const asked = history.redrives.filter(
        (redrive) => redrive.schedule === schedule.id && redrive.nominalMs === slot.nominal * 1000,
      );
      const stopped = asked.some(({ requestMs }) =>
        schedule.spans.some(({ end }) => isStop(end?.reason) && end!.toMs >= requestMs),
      );
      return stopped ? undefined : 'no stop came after a redrive of it had been asked for';
    }
    case 'DEAD NO_SLOT':
      return row.revision === slot.span.revision ? 'its revision holds it' : undefined;
    case 'DEAD INVALID_ARGUMENT':
      return verdicts.some(({ kind }) => kind !== 'squatted') ? undefined : 'nothing was wrong with it';
    case 'DEAD COLLISION':
      return verdicts.some(({ kind }) => kind === 'squatted') ? undefined : 'its name was free';
    default:
      return 'there is no such outcome';
  }
}

function isStop(reason: EndReason | undefined): boolean {
  return reason === 'PAUSED' || reason === 'DEACTIVATED' || reason === 'DELETED';
}
