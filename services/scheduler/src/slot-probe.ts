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
 * The runs of slots of one revision, in their order; undefined where there is none for certain, because no transaction can still be
 * creating one, or another's run has the name. At most 500 slots.
 */
export async function probeSlots(
  { store, target, nameScheme, probeTimeoutMs }: SlotProbeOptions,
  revision: { readonly id: number; readonly revision: number },
  nominalSecs: readonly number[],
): Promise<(SlotRun | undefined)[]> {
  const [first] = nominalSecs;
  if (first === undefined) return [];
  const [look] = await store.lastLook([
    { schedule: revision.id, revision: revision.revision, nominalMs: first * 1000 },
  ]);
  if (!look) return nominalSecs.map(() => undefined);
  const { task } = storedRunSpec(look);
  const runIds = nominalSecs.map((nominalSec) => runIdOf(nameScheme, look, task, nominalSec));
  const runs: SoughtRun[] = nominalSecs.map((nominalSec, index) => ({
    name: `projects/${look.project}/domains/${look.domain}/runs/${runIds[index]}`,
    nominalMs: nominalSec * 1000,
  }));
  const found = await target.probe(runs, probeTimeoutMs);
  return runs.map(({ nominalMs }, index) => {
    const run = found[index];
    const asked = { scheduleUid: look.uid, nominalMs, acceptsForeign: nameScheme === 'flyte' };
    return run && isAskedRun(run, asked) ? { runId: runIds[index]!, skipped: run.skipped } : undefined;
  });
}
