import type { LastLook } from '@carillon/db/tables/last-look.ts';
import { isAskedRun } from './answer.ts';
import { type NameScheme, runIdOf, storedRunSpec } from './run-request.ts';
import type { RunsTarget, SoughtRun } from './runs-target.ts';
import type { SchedulerStore } from './scheduler-store.ts';

/** What probes ask through. */
export interface SlotProbeOptions {
  readonly store: Pick<SchedulerStore, 'lastLook'>;
  readonly target: Pick<RunsTarget, 'probe'>;
  readonly nameScheme: NameScheme;
  readonly probeTimeoutMs: number;
}

/** The run of a slot. */
export interface SlotRun {
  readonly runId: string;
  /** Its overlap policy decided that it is not executed. */
  readonly skipped: boolean;
}

/**
 * What became of a slot that may have been sent. Undefined: it has no run for certain, because no transaction can still be creating one, or another's
 * run has the name. `BEYOND_RETENTION`: it will get none, but whether it had one can no longer be told.
 */
export type ProbeResult = SlotRun | 'BEYOND_RETENTION' | undefined;

/** A slot to look for the run of. */
export interface ProbedSlot {
  /** The schedule's id. */
  readonly id: number;
  readonly revision: number;
  readonly nominalSec: number;
}

/** What became of slots, in their order. At most 500. */
export async function probeSlots(
  { store, target, nameScheme, probeTimeoutMs }: SlotProbeOptions,
  slots: readonly ProbedSlot[],
): Promise<ProbeResult[]> {
  if (slots.length === 0) return [];
  // Names and tasks are the same for all slots of a revision.
  const revisions = new Map(slots.map((slot) => [keyOf(slot), slot]));
  const looks = await store.lastLook(
    [...revisions.values()].map(({ id, revision, nominalSec }) => ({
      schedule: id,
      revision,
      nominalMs: nominalSec * 1000,
    })),
  );
  const lookOf = new Map([...revisions.keys()].map((key, index) => [key, looks[index]]));
  const sought: {
    readonly place: number;
    readonly look: LastLook;
    readonly runId: string;
    readonly run: SoughtRun;
  }[] = [];
  slots.forEach((slot, place) => {
    const look = lookOf.get(keyOf(slot));
    if (!look) return;
    // Only Flyte's names have the task in them, and a spec that cannot be read must not hold up a name that does not need it.
    const task = nameScheme === 'flyte' ? storedRunSpec(look).task : '';
    const runId = runIdOf(nameScheme, look, task, slot.nominalSec);
    const name = `projects/${look.project}/domains/${look.domain}/runs/${runId}`;
    sought.push({ place, look, runId, run: { name, nominalMs: slot.nominalSec * 1000 } });
  });
  const runs: ProbeResult[] = slots.map(() => undefined);
  if (sought.length === 0) return runs;
  const found = await target.probe(
    sought.map(({ run }) => run),
    probeTimeoutMs,
  );
  sought.forEach(({ place, look, runId, run: { nominalMs } }, index) => {
    const run = found[index];
    const asked = { scheduleUid: look.uid, nominalMs, acceptsForeign: nameScheme === 'flyte' };
    if (run === 'BEYOND_RETENTION') runs[place] = run;
    else if (run && isAskedRun(run, asked)) runs[place] = { runId, skipped: run.skipped };
  });
  return runs;
}

function keyOf({ id, revision }: ProbedSlot): string {
  return `${id}/${revision}`;
}
