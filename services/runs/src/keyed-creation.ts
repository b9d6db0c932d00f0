import { type ConcurrencyKey, keyId, lockConcurrencyKeys } from '@carillon/db/tables/concurrency-keys.ts';
import {
  admitRuns,
  insertKeyedRuns,
  type KeyedRun,
  readKeyLoads,
  selectKeyedRuns,
} from '@carillon/db/tables/keyed-runs.ts';
import {
  type InsertedRun,
  insertRuns,
  type NewRun,
  type PlacedRun,
  placeRuns,
  type RunDb,
  type RunRow,
} from '@carillon/db/tables/runs.ts';
import {
  decideBeside,
  decideOverlap,
  type KeyState,
  OVERLAP_CODE,
  type OverlapDecision,
  othersToStop,
  stopsOthers,
} from './overlap.ts';
import { runNameOf } from './run-message.ts';
import { type StoppedRun, stopOthers } from './stop-others.ts';

/** What {@link insertDecided} did. */
export interface DecidedInsert {
  /** In the order of the runs. */
  readonly inserted: readonly InsertedRun[];
  /** Of those that were created, by resource name. */
  readonly decisions: ReadonlyMap<string, OverlapDecision>;
  /** Other runs in their new state: those that were stopped, and those that could start. */
  readonly changed: readonly RunRow[];
}

/** A run with the decision on it. */
interface DecidedRun {
  readonly run: NewRun;
  readonly decision: OverlapDecision;
}

/**
 * Creates runs that have a concurrency key, as {@link insertRuns} does, and decides each by its overlap policy, those of one key in the
 * order of their nominal times. All of it is one transaction under the locks of the keys. A run is inserted before it is decided, so
 * that nothing comes of one whose name is taken.
 */
export async function insertDecided(
  trx: RunDb,
  runs: readonly NewRun[],
  retentionDays: number,
): Promise<DecidedInsert> {
  await lockConcurrencyKeys(trx, runs.map(keyOf));
  const inserted = await insertRuns(trx, runs, retentionDays);
  const decisions = new Map<string, OverlapDecision>();
  const changed: RunRow[] = [];
  const freed: ConcurrencyKey[] = [];
  let left = runs.filter((_, index) => inserted[index]?.create_micros != null).sort(byNominalTime);
  while (left.length > 0) {
    const round = roundOf(left);
    const bystanders = await decideBystanders(
      trx,
      round.filter((run) => !stopsOthers(run.concurrency_policy)),
    );
    const stoppers = round.filter((run) => stopsOthers(run.concurrency_policy));
    const stopped = await decideStoppers(trx, stoppers);
    freed.push(...stoppers.map(keyOf));
    changed.push(...stopped.changed);
    const decided = [...bystanders, ...stopped.decided];
    await place(trx, decided);
    for (const { run, decision } of decided) decisions.set(runNameOf(run), decision);
    left = left.filter((run) => !decisions.has(runNameOf(run)));
  }
  if (freed.length > 0) changed.push(...(await admitRuns(trx, freed)));
  return { inserted, decisions, changed };
}

/** Of each key either its first runs that stop no others, or its first one if that may: what can be decided by one look at the key. */
function roundOf(runs: readonly NewRun[]): NewRun[] {
  const over = new Set<string>();
  const begun = new Set<string>();
  return runs.filter((run) => {
    const id = keyId(keyOf(run));
    const stops = stopsOthers(run.concurrency_policy);
    if (over.has(id) || (stops && begun.has(id))) {
      over.add(id);
      return false;
    }
    begun.add(id);
    if (stops) over.add(id);
    return true;
  });
}

async function decideBystanders(trx: RunDb, runs: readonly NewRun[]): Promise<DecidedRun[]> {
  const keys = new Map<string, ConcurrencyKey & { readonly atMost: number }>();
  for (const run of runs) {
    const key = keyOf(run);
    const atMost = Math.max(run.concurrency_limit, keys.get(keyId(key))?.atMost ?? 0);
    keys.set(keyId(key), { ...key, atMost });
  }
  const states = new Map<string, KeyState>(
    (await readKeyLoads(trx, [...keys.values()])).map((load) => [keyId(load), load]),
  );
  return runs.map((run) => {
    const id = keyId(keyOf(run));
    const state = states.get(id) ?? { going: 0, buffered: false };
    const decision = decideOverlap(run, state);
    states.set(id, {
      going: state.going + (decision.outcome === 'STARTED' ? 1 : 0),
      buffered: state.buffered || decision.outcome === 'BUFFERED',
    });
    return { run, decision };
  });
}

/** One run of a key at most. */
async function decideStoppers(
  trx: RunDb,
  runs: readonly NewRun[],
): Promise<{ readonly decided: readonly DecidedRun[]; readonly changed: readonly RunRow[] }> {
  const others = Map.groupBy(await selectKeyedRuns(trx, runs.map(keyOf)), keyId);
  const othersOf = (run: NewRun): readonly KeyedRun[] => others.get(keyId(keyOf(run))) ?? [];
  const verdicts = runs.map((run) => ({ run, verdict: othersToStop(run, othersOf(run)) }));
  const stops = verdicts.flatMap(({ run, verdict }): StoppedRun[] => {
    if (!('stop' in verdict)) return [];
    const how = run.concurrency_policy === 'TERMINATE_OTHER' ? 'END' : 'ASK';
    const reason = `its overlap policy, ${run.concurrency_policy}: ${run.run_id} takes its place`;
    return verdict.stop.map((other) => ({ other, how, reason }));
  });
  const { changed, ended } = await stopOthers(trx, stops);
  const decided = verdicts.map(({ run, verdict }) => {
    if (!('stop' in verdict)) return { run, decision: verdict };
    const left = othersOf(run).filter((other) => !ended.has(runNameOf(other)));
    const going = left.filter((other) => other.going).length;
    return { run, decision: decideBeside(run, { going, buffered: left.length > going }) };
  });
  return { decided, changed };
}

async function place(trx: RunDb, decided: readonly DecidedRun[]): Promise<void> {
  const placed = decided.flatMap(({ run, decision }): PlacedRun[] => {
    const { phase, ...rest } = stateOf(decision);
    return phase === 'BUFFERED' ? [] : [{ ...run, ...rest, phase }];
  });
  await placeRuns(trx, placed);
  const living = decided.filter(({ decision }) => decision.outcome !== 'SKIPPED');
  await insertKeyedRuns(
    trx,
    living.map(({ run, decision }) => ({ ...run, ...keyOf(run), going: decision.outcome === 'STARTED' })),
  );
}

/** What a decision writes into the row of its run. */
export function stateOf(decision: OverlapDecision): {
  readonly phase: 'QUEUED' | 'BUFFERED' | 'SKIPPED';
  readonly outcome: OverlapDecision['outcome'];
  readonly error_code: string;
  readonly error_message: string;
} {
  const { outcome } = decision;
  if (outcome === 'SKIPPED') {
    return { phase: outcome, outcome, error_code: OVERLAP_CODE, error_message: decision.message };
  }
  const phase = outcome === 'STARTED' ? 'QUEUED' : 'BUFFERED';
  return { phase, outcome, error_code: '', error_message: '' };
}

function keyOf({ project, domain, concurrency_key, run_id }: NewRun): ConcurrencyKey {
  if (concurrency_key === null) throw new RangeError(`${run_id} has no concurrency key`);
  return { project, domain, key: concurrency_key };
}

function byNominalTime(a: NewRun, b: NewRun): number {
  return a.nominal_micros - b.nominal_micros || (a.run_id < b.run_id ? -1 : 1);
}
