import type { Assignment } from '@carillon/core/assignment.ts';
import { type Entropy, sleep } from '@carillon/core/clock.ts';
import { TokenBucket } from '@carillon/core/token-bucket.ts';
import { isServiceFailure } from '@carillon/scheduler/answer.ts';
import { Balancer } from '@carillon/scheduler/balancer.ts';
import { DatabaseClock } from '@carillon/scheduler/database-clock.ts';
import { Leadership } from '@carillon/scheduler/leadership.ts';
import { SchedulerMetrics } from '@carillon/scheduler/metrics.ts';
import { Replicas } from '@carillon/scheduler/replicas.ts';
import { CallFailedError } from '@carillon/scheduler/runs-target.ts';
import { Scheduler } from '@carillon/scheduler/scheduler.ts';
import { Shards } from '@carillon/scheduler/shards.ts';
import { Share } from '@carillon/scheduler/share.ts';
import { TimingCache } from '@carillon/scheduler/timing-cache.ts';
import { createLogger, type Logger } from '@carillon/server';
import { Registry } from 'prom-client';
import type { Prng } from './prng.ts';
import { SimBreaker } from './sim-breaker.ts';
import { SimConnection } from './sim-connection.ts';
import { SimProcess } from './sim-process.ts';
import type { SimRuns } from './sim-runs.ts';
import { createSimSettledSlots } from './sim-settled-slots.ts';
import { createSimShardsStore } from './sim-shards-store.ts';
import { createSimStore } from './sim-store.ts';
import { createSimTarget } from './sim-target.ts';
import { type Caller, Calls, type World } from './world.ts';

/** The scheduler's beat, as its duties have it. */
const BEAT_MS = 1_000;
/** The phases of an ordered end, as its main has them. */
const RELEASE_LIMIT_MS = 5_000;
const DRAIN_LIMIT_MS = 10_000;
/** How long a hand-over waits for others to lead. */
const HAND_OVER_WAIT_MS = 3_000;
/** How long a process takes to start. */
const START_MS = 100;

/** Counters cost most when they are made, and nobody reads them here. */
const METRICS = new SchedulerMetrics(new Registry(), () => {
  throw new Error('nobody asks for the gauges');
});

/** Logged when something happened that cannot happen. */
const PANICS: ReadonlySet<string> = new Set([
  'the dispatcher failed; going on',
  'a dispatch failed; its slots are sent again',
  'the full comparison found changes that the feed had not',
]);

/** What schedulers are told of by notifications: changes of schedules, released leases, new redrives. */
export type Hint = 'schedules' | 'leases' | 'redrives';

/** A scheduler that is started again whenever it ends: one process after another, of which at most one lives. */
export class Replica {
  readonly #world: World;
  readonly #runs: SimRuns;
  readonly #index: number;
  readonly #random: Prng;
  readonly #calls: Calls;
  #lives = 0;
  #downUntilMs = 0;
  #owner = '';
  #configured: Assignment;
  #life: Life | undefined;

  constructor(world: World, runs: SimRuns, index: number) {
    this.#world = world;
    this.#runs = runs;
    this.#index = index;
    this.#configured = world.plan.shardings[0]!.assignment;
    this.#random = world.random(`replica ${index}`);
    this.#calls = new Calls(world.plan.crashes.filter((point) => point.replica === index));
  }

  /** The process that lives; undefined between two. */
  get process(): SimProcess | undefined {
    return this.#life?.process;
  }

  /** Starts a process, under the name of the last one or another. */
  start(sameName: boolean): void {
    if (this.#life) return;
    const downMs = this.#downUntilMs - this.#world.time.nowMs;
    if (downMs > 0) {
      this.#world.time.after(downMs, () => this.start(sameName));
      return;
    }
    this.#lives++;
    if (!sameName || this.#owner === '') this.#owner = `replica-${this.#index}-${this.#lives}`;
    this.#world.tell(() => `${this.#owner} starts`);
    this.#life = new Life(
      this.#world,
      this.#runs,
      this.#index,
      this.#owner,
      this.#calls,
      this.#random,
      this.#configured,
      () => this.crash(true),
    );
  }

  /** Kills the process; another one comes up soon. */
  crash(sameName: boolean): void {
    if (!this.#life) return;
    this.#world.tell(() => `${this.#owner} is killed`);
    this.#end();
    this.#world.time.after(START_MS + this.#random.between(0, 2_000), () => this.start(sameName));
  }

  /** The machine is switched off for a while. */
  goDown(forMs: number): void {
    this.#downUntilMs = Math.max(this.#downUntilMs, this.#world.time.nowMs + forMs);
    this.crash(false);
  }

  /** SIGTERM: the process hands over and ends; another one comes up. */
  handOver(): void {
    const life = this.#life;
    if (!life || life.leaving) return;
    this.#world.tell(() => `${this.#owner} is asked to end`);
    void life.leave().then(() => {
      if (this.#life !== life) return;
      this.#world.tell(() => `${this.#owner} ends`);
      this.#end();
      this.#world.time.after(START_MS, () => this.start(false));
    });
  }

  /** The process ends, and comes up again with another configuration of the shards. */
  reconfigure(assignment: Assignment, abruptly: boolean): void {
    this.#configured = assignment;
    if (abruptly) this.crash(true);
    else this.handOver();
  }

  /** The process hands what it leads over, and goes on. */
  giveAway(): void {
    this.#life?.giveAway();
  }

  freeze(forMs: number): void {
    const process = this.#life?.process;
    if (!process || process.frozen) return;
    this.#world.tell(() => `${this.#owner} stands still for ${forMs} ms`);
    process.freeze();
    this.#world.time.after(forMs, () => {
      if (process.alive) this.#world.tell(() => `${process.name} goes on`);
      process.thaw();
    });
  }

  /** Ends the process for good. */
  end(): void {
    this.#end();
  }

  /** A hint, which may be lost. */
  hint(of: Hint): void {
    const life = this.#life;
    if (!life || this.#world.conditions.databaseCut.has(this.#index)) return;
    if (this.#random.chance(this.#world.plan.settings.lostHints)) return;
    this.#world.time.after(this.#world.latencyMs(this.#random), () => life.hint(of), life.process);
  }

  /** The listening connection was made anew. */
  listening(): void {
    const life = this.#life;
    if (!life) return;
    // A heartbeat's pause and limit, and a back-off, may lie in between.
    const wayMs = this.#random.between(10, this.#random.pick([500, 3_000]));
    this.#world.time.after(wayMs, () => life.shards.listening(), life.process);
  }

  #end(): void {
    const life = this.#life;
    this.#life = undefined;
    life?.end();
  }
}

/** One process of a replica, put together as `services/scheduler/src/app.ts` does. */
class Life {
  readonly process: SimProcess;
  readonly shards: Shards;
  readonly #replicas: Replicas;
  readonly #balancer: Balancer;
  readonly #leaderships: Leadership[] = [];
  readonly #logger: Logger;
  readonly #duties = new AbortController();
  leaving = false;

  constructor(
    world: World,
    runs: SimRuns,
    index: number,
    owner: string,
    calls: Calls,
    random: Prng,
    configured: Assignment,
    crash: () => void,
  ) {
    const { plan } = world;
    const { settings } = plan;
    const clock = new SimProcess(owner, world.time, plan.epochMs, plan.replicas[index]!);
    this.process = clock;
    const caller: Caller = { replica: index, process: clock, calls, random, crash };
    const logger = loggerOf(world, clock);
    const databaseClock = new DatabaseClock(clock);
    const connection = new SimConnection(world, caller);
    const breaker = new SimBreaker(clock, {
      volume: settings.breakerVolume,
      resetMs: settings.breakerResetMs,
      windowMs: 10_000,
      isFailure: (error) => error instanceof CallFailedError && isServiceFailure(error.refused),
      onState: (state) => {
        world.tell(() => `the breaker of ${owner} is ${state}`);
        for (const { executor } of shards.terms) {
          if (state === 'closed') executor.rampUp();
          else executor.wake();
        }
      },
    });
    const entropy: Entropy = {
      fraction: () => random.fraction(),
      uuid: () => {
        throw new Error('the scheduler needs no uuids');
      },
    };
    const unlimited = settings.ratePerSecond === Number.POSITIVE_INFINITY;
    const bucket = new TokenBucket(clock, {
      ratePerSecond: settings.ratePerSecond,
      burst: unlimited ? Math.max(settings.burst, settings.maxBatch) : settings.burst,
    });
    const timings = new TimingCache();
    const share = new Share();
    const standbyPollMs = Math.min(1_000, settings.leaseTtlMs / 4);
    const createScheduler = (
      assignment: Assignment,
      history: readonly Assignment[],
      shard: string,
    ): Scheduler => {
      const of = { assignment, history, shard, owner };
      const common = { store: createSimStore(world, connection, of), clock, databaseClock, logger };
      const leadership = new Leadership({
        ...common,
        owner,
        leaseTtlMs: settings.leaseTtlMs,
        leaseMarginMs: settings.leaseMarginMs,
        standbyPollMs,
        share,
      });
      this.#leaderships.push(leadership);
      return new Scheduler({
        ...common,
        ...of,
        settledSlots: createSimSettledSlots(world, connection, of),
        entropy,
        metrics: METRICS,
        leadership,
        target: createSimTarget(world, caller, of, runs),
        bucket,
        breaker,
        nameScheme: 'carillon',
        timings,
        recordFired: settings.recordFired,
        limits: {
          maxBatch: settings.maxBatch,
          maxBatchBytes: 3 * 1024 * 1024,
          maxCalls: settings.maxCalls,
          maxOutstanding: settings.maxOutstanding,
          callTimeoutMs: settings.callTimeoutMs,
          catchUpRunsPerSecond: settings.catchUpRunsPerSecond,
          rampUpMs: settings.rampUpMs,
        },
      });
    };
    const shardsStore = createSimShardsStore(world, connection);
    const shards: Shards = new Shards({
      store: shardsStore,
      configured,
      createScheduler,
      bucket,
      breaker,
      databaseClock,
      clock,
      logger,
    });
    this.shards = shards;
    this.#replicas = new Replicas(shardsStore, shards, { instance: owner, version: 'simulated' });
    this.#balancer = new Balancer({
      store: shardsStore,
      shards,
      replicas: this.#replicas,
      share,
      logger,
      handOverWaitMs: 3 * standbyPollMs,
    });
    this.#logger = logger;
    shards.listening();
    void this.#begin();
    if (settings.compareEveryMs < Number.POSITIVE_INFINITY) void this.#compare(settings.compareEveryMs);
  }

  hint(of: Hint): void {
    if (of === 'schedules') this.shards.changed();
    else if (of === 'redrives') this.shards.redriven();
    else void this.#guarded(() => this.#balancer.released());
  }

  /** As an operator asks for it. */
  giveAway(): void {
    if (this.leaving || this.shards.state !== 'LEADING') return;
    void this.#guarded(async () => {
      await this.#replicas.stepBack();
      await this.shards.handOver(HAND_OVER_WAIT_MS);
    });
  }

  /** An ordered end, as on SIGTERM. */
  async leave(): Promise<void> {
    this.leaving = true;
    this.#duties.abort(new Error('the duties end'));
    const limit = sleep(this.process, RELEASE_LIMIT_MS);
    await Promise.race([this.shards.release(), limit]).catch(() => undefined);
    const drained = new AbortController();
    this.process.after(DRAIN_LIMIT_MS, () => drained.abort(new Error('the time is over')));
    await this.shards.drain(drained.signal);
  }

  /** The process is gone. Its loops are ended too, so that nothing of them is kept in memory. */
  end(): void {
    this.process.kill();
    this.#duties.abort(new Error('the process is gone'));
    for (const leadership of this.#leaderships) leadership.lose('the process is gone');
    this.shards.abandon();
  }

  async #begin(): Promise<void> {
    const { shards } = this;
    await shards.start();
    void this.#every(() => {
      shards.changed();
      shards.redriven();
      shards.recordPauses();
    });
    void this.#every(() => shards.flush());
    void this.#every(() => this.#replicas.beat());
    void this.#every(() => shards.follow());
    void this.#every(() => this.#balancer.balance());
  }

  async #every(work: () => unknown): Promise<void> {
    const { signal } = this.#duties;
    for (;;) {
      await sleep(this.process, BEAT_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.#guarded(work);
    }
  }

  async #guarded(work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#logger.warn({ err: error }, 'a duty failed');
    }
  }

  async #compare(everyMs: number): Promise<void> {
    const { signal } = this.#duties;
    while (!signal.aborted) {
      await sleep(this.process, everyMs, signal).catch(() => undefined);
      if (!signal.aborted) this.shards.compareAll();
    }
  }
}

/** Who takes in the lines of a process, by its name: a logger is dear to make, so that all share one. */
const sinks = new Map<string, (line: string) => void>();

const LOGGER = createLogger({
  service: 'scheduler',
  instance: 'simulation',
  level: 'error',
  destination: {
    write(line: string): void {
      const { process } = JSON.parse(line) as { process: string };
      sinks.get(process)?.(line);
    },
  },
});

/** Nothing is logged but what cannot happen; all of it when the world is to be told. */
function loggerOf(world: World, process: SimProcess): Logger {
  sinks.set(process.name, (line) => {
    if (!process.alive) return;
    const { msg, err, ...rest } = JSON.parse(line) as {
      msg: string;
      err?: { message: string; stack?: string };
    };
    if (PANICS.has(msg)) world.violated(`${msg}: ${err?.stack ?? err?.message ?? JSON.stringify(rest)}`);
    world.tell(() => `  ${process.name}: ${msg}${err ? ` (${err.message})` : ''}${details(rest)}`);
  });
  return LOGGER.child({ process: process.name }, { level: world.story ? 'info' : 'error' });
}

const ENVELOPE = new Set(['level', 'time', 'service', 'instance', 'process']);

function details(fields: Record<string, unknown>): string {
  const words = Object.entries(fields)
    .filter(([key]) => !ENVELOPE.has(key))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return words.length > 0 ? ` ${words.join(' ')}` : '';
}
