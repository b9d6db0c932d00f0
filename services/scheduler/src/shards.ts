import { type Assignment, isSingleShard, sameShards } from '@carillon/core/assignment.ts';
import { type Clock, sleep } from '@carillon/core/clock.ts';
import type { TokenBucket } from '@carillon/core/token-bucket.ts';
import type { ReplicaState } from '@carillon/db/tables/scheduler-replicas.ts';
import type { Logger } from '@carillon/server';
import type { Breaker, BreakerState } from './breaker.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Gauged } from './metrics.ts';
import type { Scheduler, Successor } from './scheduler.ts';
import type { ShardsStore } from './shards-store.ts';
import type { Term } from './term.ts';

/** What shards are made from. */
export interface ShardsOptions {
  readonly store: ShardsStore;
  /** The assignment that this replica is configured with: set, if its version is higher than any before. */
  readonly configured: Assignment;
  /** Makes the scheduler of a shard. It is not started. */
  readonly createScheduler: (
    assignment: Assignment,
    history: readonly Assignment[],
    shard: string,
  ) => Scheduler;
  /** What all of them take their turns at. */
  readonly bucket: TokenBucket;
  readonly breaker: Breaker;
  readonly databaseClock: DatabaseClock;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** For reading new shards beforehand, at most. */
const PREPARE_LIMIT_MS = 30_000;
/** A pause before the database is asked again at the start. */
const RETRY_MS = 500;

/** As the metric has it. */
const BREAKER_STATES: Readonly<Record<BreakerState, number>> = { closed: 0, 'half-open': 1, open: 2 };

/** The configured assignment is not the one that is stored under its version. */
export class AssignmentConflictError extends Error {
  override readonly name = 'AssignmentConflictError';
}

/** What came of handing one shard over. */
export interface HandedOver {
  readonly shard: string;
  /** Undefined: nobody took it in time. */
  readonly successor: Successor | undefined;
}

/**
 * The shards of the assignment in force: a scheduler for each of them, which leads it or stands by. When a new version is set, all of them give up
 * what they hold, and those of the new one begin.
 */
export class Shards {
  readonly #o: ShardsOptions;
  #schedulers: readonly Scheduler[] = [];
  /** Of earlier versions: answers of theirs may be outstanding. */
  #retired: Scheduler[] = [];
  #assignment: Assignment;
  #following: Promise<void> | undefined;
  /** Whether the configured assignment may be followed from: nothing begins before. */
  #isSettled = false;
  readonly #ending = new AbortController();

  constructor(options: ShardsOptions) {
    this.#o = options;
    this.#assignment = options.configured;
  }

  /** The assignment that is followed; before `start`, the one that is configured. */
  get assignment(): Assignment {
    return this.#assignment;
  }

  /** One for each shard of it. */
  get schedulers(): readonly Scheduler[] {
    return this.#schedulers;
  }

  /** The present terms: of the shards that this replica leads. */
  get terms(): readonly Term[] {
    return this.#schedulers.flatMap(({ term }) => term ?? []);
  }

  /** What this replica does: it leads if it leads any shard. */
  get state(): ReplicaState {
    if (this.#ending.signal.aborted) return 'DRAINING';
    const states = this.#schedulers.map(({ state }) => state);
    if (states.includes('LEADING')) return 'LEADING';
    return states.length === 0 || states.includes('STARTING') ? 'STARTING' : 'STANDBY_READY';
  }

  /**
   * Sets the configured assignment if it is newer than the one in force, and contends for the shards of whichever is in force then. While
   * the database cannot be asked, it tries again.
   *
   * @throws {AssignmentConflictError} if another one is stored under its version
   */
  async start(): Promise<void> {
    const { clock, logger } = this.#o;
    while (!this.#ending.signal.aborted) {
      try {
        await this.#settle();
        this.#isSettled = true;
        await this.follow();
        return;
      } catch (error) {
        if (error instanceof AssignmentConflictError) throw error;
        logger.warn({ err: error }, 'the sharding could not be read or set; trying again');
        await sleep(clock, RETRY_MS, this.#ending.signal).catch(() => undefined);
      }
    }
  }

  async #settle(): Promise<void> {
    const { store, configured, logger } = this.#o;
    const before = await store.readVersionInForce();
    if (before === undefined || before < configured.version) await store.setAssignment(configured);
    const { history, inForce } = await store.readAssignments();
    const stored = history.find(({ version }) => version === configured.version);
    if (stored && !sameShards(stored, configured)) {
      throw new AssignmentConflictError(
        `version ${stored.version} of the sharding is set already, as ${describe(stored)}: to set ${describe(configured)}, raise CARILLON_SHARDING_VERSION`,
      );
    }
    if (inForce !== configured.version) {
      logger.warn(
        { configured: configured.version, inForce },
        'a newer version of the sharding is in force than is configured here, and is followed',
      );
    }
  }

  /** Goes over to the assignment in force, if that is another one. A call during another one waits for it. */
  async follow(): Promise<void> {
    this.#following ??= this.#follow().finally(() => {
      this.#following = undefined;
    });
    await this.#following;
  }

  async #follow(): Promise<void> {
    const { store, configured, logger, createScheduler } = this.#o;
    if (!this.#isSettled) return;
    const isStarted = this.#schedulers.length > 0;
    const before = await store.readVersionInForce();
    if (isStarted && before === this.#assignment.version) return;
    if (before === undefined || before < configured.version) {
      // It was in force at the start: this is a standby that was promoted before it had come there, or a backup of before that.
      logger.warn(
        { configured: configured.version, inForce: before },
        'the database has lost the configured version of the sharding; it is set again',
      );
      await store.setAssignment(configured);
    }
    const { history, inForce } = await store.readAssignments();
    const assignment = history.find(({ version }) => version === inForce);
    if (this.#ending.signal.aborted || assignment === undefined) return;
    // It was lost, and is there again.
    if (isStarted && inForce === this.#assignment.version && sameShards(assignment, this.#assignment)) return;
    logger.info({ version: assignment.version, shards: describe(assignment) }, 'following the sharding');
    const schedulers = assignment.shards.map(({ name }) => createScheduler(assignment, history, name));
    if (isStarted) await this.#prepare(schedulers);
    if (this.#ending.signal.aborted) return;
    await this.#retire();
    if (this.#ending.signal.aborted) return;
    this.#assignment = assignment;
    this.#schedulers = schedulers;
    for (const scheduler of schedulers) scheduler.start();
  }

  /** Has all of the new shards in memory before anything is given up: until then those of before fire. */
  async #prepare(schedulers: readonly Scheduler[]): Promise<void> {
    const { clock, logger } = this.#o;
    const prepared = new AbortController();
    try {
      await Promise.race([
        Promise.all(schedulers.map((scheduler) => scheduler.prepare())),
        sleep(clock, PREPARE_LIMIT_MS, AbortSignal.any([prepared.signal, this.#ending.signal])),
      ]);
    } catch (error) {
      if (this.#ending.signal.aborted) return;
      logger.warn({ err: error }, 'new shards could not be read beforehand; they are read when they are led');
    } finally {
      prepared.abort(new Error('no longer waited for'));
    }
  }

  /** Gives up what is held under an earlier version. Should the database not hear of it, the leases run out. */
  async #retire(): Promise<void> {
    const retired = this.#schedulers;
    this.#retired.push(...retired);
    await Promise.all(
      retired.map((scheduler) =>
        scheduler.release().catch((error: unknown) => {
          this.#o.logger.warn(
            { err: error, shard: scheduler.shard },
            'a shard could not be given up in order',
          );
        }),
      ),
    );
    for (const scheduler of retired) {
      void scheduler.drain(new AbortController().signal).then(() => {
        this.#retired = this.#retired.filter((each) => each !== scheduler);
      });
    }
  }

  /** A lease may have been released: whoever contends looks now. */
  wake(): void {
    for (const scheduler of this.#schedulers) scheduler.wake();
  }

  /** Time may have passed unseen: no lease is trusted until it is renewed. */
  doubt(): void {
    for (const scheduler of this.#schedulers) scheduler.doubt();
  }

  /** Schedules may have changed. */
  changed(): void {
    for (const scheduler of this.#schedulers) scheduler.changed();
  }

  /** Dead slots may have been asked to be sent again. */
  redriven(): void {
    for (const scheduler of this.#schedulers) scheduler.redriven();
  }

  /** Records the slots of pauses that have ended. */
  recordPauses(): void {
    for (const scheduler of this.#schedulers) scheduler.recordPauses();
  }

  /** The listening connection was made anew. */
  listening(): void {
    for (const scheduler of this.#schedulers) scheduler.listening();
  }

  /** Says how far catching up has come, while there is anything to catch up. */
  reportCatchUp(): void {
    for (const scheduler of this.#schedulers) scheduler.reportCatchUp();
  }

  /** Compares everything with the database. */
  compareAll(): void {
    for (const scheduler of this.#schedulers) scheduler.compareAll();
  }

  /** Writes down what is settled. */
  async flush(): Promise<void> {
    await Promise.all(this.#schedulers.map((scheduler) => scheduler.flush()));
  }

  /** Gives every shard that it leads to whoever takes it, and stands by. */
  async handOver(waitMs: number): Promise<HandedOver[]> {
    const led = this.#schedulers.filter(({ state }) => state === 'LEADING');
    return await Promise.all(
      led.map(async (scheduler) => ({
        shard: scheduler.shard,
        successor: await scheduler.handOver(waitMs),
      })),
    );
  }

  /** Sends nothing new, writes down what is settled, and gives all leases up for good. */
  async release(): Promise<void> {
    this.#ending.abort(new Error('the shards are given up'));
    await this.#following?.catch(() => undefined);
    await Promise.all(
      this.#schedulers.map(async (scheduler) => {
        await scheduler.release();
        await scheduler.ended();
      }),
    );
  }

  /** Ends all work without handing anything over. */
  abandon(): void {
    this.#ending.abort(new Error('the shards are given up'));
    for (const scheduler of [...this.#schedulers, ...this.#retired]) scheduler.abandon();
  }

  /** Resolves when all loops have ended. */
  async ended(): Promise<void> {
    await this.#following?.catch(() => undefined);
    await Promise.all([...this.#schedulers, ...this.#retired].map((scheduler) => scheduler.ended()));
  }

  /** Waits for the answers of what is in flight. Nothing of it is sent again. */
  async drain(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#schedulers, ...this.#retired].map((scheduler) => scheduler.drain(signal)));
  }

  /** What all shards of this replica share. */
  get shared(): { readonly breakerState: BreakerState; readonly tokens: number } {
    const { bucket, breaker } = this.#o;
    return { breakerState: breaker.state, tokens: bucket.tokens };
  }

  /** What the metrics show. */
  gauged(): Gauged {
    const { bucket, breaker, databaseClock } = this.#o;
    const parts = this.#schedulers.map((scheduler) => scheduler.gauged());
    const sum = (of: (part: (typeof parts)[number]) => number): number =>
      parts.reduce((total, part) => total + of(part), 0);
    const most = (of: (part: (typeof parts)[number]) => number): number => Math.max(0, ...parts.map(of));
    return {
      tokens: bucket.tokens,
      breaker: BREAKER_STATES[breaker.state],
      wallClockAheadSeconds: Number.isFinite(databaseClock.now()) ? databaseClock.wallClockAheadMs / 1000 : 0,
      leading: sum((part) => Number(part.leading)),
      schedules: sum((part) => part.schedules),
      ready: sum((part) => part.ready),
      outstanding: sum((part) => part.outstanding),
      retries: sum((part) => part.retries),
      callsInFlight: sum((part) => part.callsInFlight),
      laggards: sum((part) => part.laggards),
      quarantined: sum((part) => part.quarantined),
      backlog: sum((part) => part.backlog),
      watermarkAgeSeconds: most((part) => part.watermarkAgeSeconds),
      feedLagSeconds: most((part) => part.feedLagSeconds),
      epoch: most((part) => part.epoch),
      shards: parts.length,
      assignmentVersion: this.#assignment.version,
    };
  }
}

function describe(assignment: Assignment): string {
  const { strategy, shards } = assignment;
  if (isSingleShard(assignment)) return 'one shard';
  if (strategy === 'hash') return `${shards.length} shards by hash`;
  return `shards by ${strategy}: ${shards.map(({ ids }) => ids.join(',')).join(';')}`;
}
