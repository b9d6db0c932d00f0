import type { OverlapPolicy } from '@carillon/core/schedule-spec.ts';
import type { KeyedRun } from '@carillon/db/tables/keyed-runs.ts';
import { decideBeside, decideOverlap, othersToStop, stopsOthers } from '@carillon/runs/overlap.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

/** What became of a run when it was created. */
export type SimOutcome = 'STARTED' | 'BUFFERED' | 'SKIPPED';

/** A run that shares a key with others, as it is asked for. */
export interface AskedRun {
  readonly name: string;
  readonly key: string;
  /** Whole epoch seconds. */
  readonly nominal: number;
  readonly policy: OverlapPolicy;
  /** 0: none. */
  readonly limit: number;
}

/** Something that happened to a run with a key. */
export interface KeyEvent {
  readonly atMs: number;
  /** `WENT`: it had been buffered. `STOPPED`: for another, by that one's policy, which may only ask it to end. */
  readonly kind: SimOutcome | 'WENT' | 'STOPPED' | 'ENDED';
  readonly run: AskedRun;
}

interface LivingRun extends AskedRun {
  going: boolean;
  /** Whether a worker has it. */
  working: boolean;
  asked: boolean;
}

/** How long a worker takes to end what it is asked to. */
const ABORT_MS = 2_000;

/**
 * The runs of concurrency keys: decided by the runs service's own rules, in the order of their nominal times, as its transactions do under
 * the lock of their key; queued, worked on for a while, and ended.
 */
export class SimKeys {
  /** All that happened, in its order. */
  readonly events: KeyEvent[] = [];
  readonly #world: World;
  readonly #random: Prng;
  readonly #living = new Map<string, Map<string, LivingRun>>();
  /** Calls back as soon as no transaction holds the key. */
  readonly #whenFree: (key: string, work: () => void) => void;

  constructor(world: World, random: Prng, whenFree: (key: string, work: () => void) => void) {
    this.#world = world;
    this.#random = random;
    this.#whenFree = whenFree;
  }

  /** Keeps all of it; the function brings it back, and workers go on with what was going. */
  copy(): () => void {
    const events = [...this.events];
    const living = [...this.#living.values()]
      .flatMap((runs) => [...runs.values()])
      .map((run) => ({ ...run }));
    return () => {
      this.events.splice(0, Number.POSITIVE_INFINITY, ...events);
      this.#living.clear();
      for (const run of living) this.#runsOf(run.key).set(run.name, run);
      for (const run of living) if (run.going) this.#go(run);
    };
  }

  /** Decides runs whose keys the caller holds. The outcomes by their names. */
  decide(runs: readonly AskedRun[]): Map<string, SimOutcome> {
    const outcomes = new Map<string, SimOutcome>();
    for (const run of runs.toSorted((a, b) => a.nominal - b.nominal || (a.name < b.name ? -1 : 1)))
      outcomes.set(run.name, this.#decide(run));
    return outcomes;
  }

  #decide(run: AskedRun): SimOutcome {
    const others = this.#runsOf(run.key);
    const asked = {
      concurrency_policy: run.policy,
      concurrency_limit: run.limit,
      nominal_micros: run.nominal * 1e6,
    };
    const state = (): { going: number; buffered: boolean } => {
      const going = [...others.values()].filter((other) => other.going).length;
      return { going, buffered: others.size > going };
    };
    if (!stopsOthers(run.policy)) {
      const { outcome } = decideOverlap(asked, state());
      this.#place(run, outcome);
      return outcome;
    }
    const newestFirst = [...others.values()].sort(
      (a, b) => b.nominal - a.nominal || (a.name < b.name ? 1 : -1),
    );
    const verdict = othersToStop(asked, newestFirst.map(keyedRunOf));
    if ('outcome' in verdict) {
      this.#place(run, verdict.outcome);
      return verdict.outcome;
    }
    for (const { run_id } of verdict.stop) this.#stop(others.get(run_id)!, run.policy);
    const { outcome } = decideBeside(asked, state());
    this.#place(run, outcome);
    this.#admit(run.key);
    return outcome;
  }

  #place(asked: AskedRun, outcome: SimOutcome): void {
    this.#happened(outcome, asked);
    if (outcome === 'SKIPPED') return;
    const run: LivingRun = { ...asked, going: false, working: false, asked: false };
    this.#runsOf(run.key).set(run.name, run);
    if (outcome === 'STARTED') this.#go(run);
  }

  /** It is queued, a worker takes it, and is done with it. */
  #go(run: LivingRun): void {
    const { queueMs, runMs } = this.#world.plan.settings;
    run.going = true;
    this.#world.time.after(this.#random.between(0, queueMs), () => {
      if (!this.#lives(run)) return;
      run.working = true;
      this.#world.time.after(runMs * this.#random.between(0.2, 1.8), () => this.#endLater(run));
    });
  }

  #stop(run: LivingRun, policy: OverlapPolicy): void {
    this.#happened('STOPPED', run);
    if (run.working && policy === 'CANCEL_OTHER') {
      if (run.asked) return;
      run.asked = true;
      this.#world.time.after(this.#random.between(0, ABORT_MS), () => this.#endLater(run));
    } else this.#end(run);
  }

  #endLater(run: LivingRun): void {
    this.#whenFree(run.key, () => {
      if (!this.#lives(run)) return;
      this.#end(run);
      this.#admit(run.key);
    });
  }

  #end(run: LivingRun): void {
    this.#runsOf(run.key).delete(run.name);
    this.#happened('ENDED', run);
  }

  /** Starts what is buffered, the earliest first, as far as the limit of each lets one more go. */
  #admit(key: string): void {
    const runs = [...this.#runsOf(key).values()];
    let going = runs.filter((run) => run.going).length;
    for (const run of runs.filter((each) => !each.going).sort((a, b) => a.nominal - b.nominal)) {
      if (going >= run.limit) return;
      going++;
      this.#happened('WENT', run);
      this.#go(run);
    }
  }

  #runsOf(key: string): Map<string, LivingRun> {
    let runs = this.#living.get(key);
    if (!runs) {
      runs = new Map();
      this.#living.set(key, runs);
    }
    return runs;
  }

  #lives(run: LivingRun): boolean {
    return this.#runsOf(run.key).get(run.name) === run;
  }

  #happened(kind: KeyEvent['kind'], { name, key, nominal, policy, limit }: AskedRun): void {
    const run = { name, key, nominal, policy, limit };
    this.events.push({ atMs: this.#world.time.nowMs, kind, run });
    this.#world.tell(() => `run of ${key.slice(-4)} at ${nominal} (${policy} ${limit}): ${kind}`);
  }
}

function keyedRunOf({ name, key, nominal, going, limit }: LivingRun): KeyedRun {
  return {
    project: '',
    domain: '',
    run_id: name,
    day: '',
    key,
    nominal_micros: nominal * 1e6,
    going,
    concurrency_limit: limit,
  };
}
