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

/**
 * The run ids of slots of one revision for which a run exists for certain, in their order; undefined where no transaction can still be
 * creating one. At most 500 slots.
 */
export async function probeSlots(
  { store, target, nameScheme, probeTimeoutMs }: SlotProbeOptions,
  revision: { readonly id: number; readonly revision: number },
  nominalSecs: readonly number[],
): Promise<(string | undefined)[]> {
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
  const exists = await target.probe(runs, probeTimeoutMs);
  return runIds.map((runId, index) => (exists[index] ? runId : undefined));
}
