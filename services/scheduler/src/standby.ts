import { type Assignment, type ShardScope, scopeOf, unitOf, unitsOf } from '@carillon/core/assignment.ts';
import type { Clock } from '@carillon/core/clock.ts';
import type { DueRange } from '@carillon/core/due-ranges.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import { Engine } from './engine.ts';
import { ChangeFeed, type FeedReader } from './feed.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { Belonging } from './schedule-records.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import type { WriteOff } from './slot.ts';
import type { TimingCache } from './timing-cache.ts';

/** What a standby works with. */
export interface StandbyOptions {
  readonly store: SchedulerStore;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly logger: Logger;
  readonly metrics: SchedulerMetrics;
  readonly timings: TimingCache;
  readonly assignment: Assignment;
  /** A shard of that assignment. */
  readonly shard: string;
}

/** Everything in memory, for a term to go on with. */
export interface Loaded {
  readonly engine: Engine;
  readonly feed: ChangeFeed;
  /** What the engine wants settled without a run. */
  readonly writeOffs: readonly WriteOff[];
}

interface Memory extends Loaded {
  readonly writeOffs: WriteOff[];
  isComplete: boolean;
}

/** How often what is outdated is read anew, at most. */
const REFRESH_MS = 1_000;

/**
 * What a replica knows before it leads: everything, in an engine that nobody drives. Most of it stays true by itself, for most slots lie
 * ahead. What the leader's frontiers have passed, or somebody has changed, is forgotten and read anew each second; so a take-over has to read what
 * came after that, and finds the engine as a load of everything would have made it.
 */
export class Standby {
  readonly #o: StandbyOptions;
  readonly #scope: ShardScope;
  #memory: Memory | undefined;
  #preparing: Promise<void> | undefined;
  #preparedAtMs = Number.NEGATIVE_INFINITY;
  #isTaken = false;

  constructor(options: StandbyOptions) {
    this.#o = options;
    this.#scope = scopeOf(options.assignment, options.shard);
  }

  /** Whether everything is in memory. */
  get isReady(): boolean {
    return this.#memory?.isComplete ?? false;
  }

  /** Loads everything, or reads anew what is outdated. While that is under way, for a second after, and once a term took over, it does nothing. */
  async prepare(): Promise<void> {
    if (this.#isTaken || this.#preparing) return;
    if (this.#o.clock.monotonic() - this.#preparedAtMs < REFRESH_MS) return;
    this.#preparing = this.#prepare().finally(() => {
      this.#preparing = undefined;
      this.#preparedAtMs = this.#o.clock.monotonic();
    });
    await this.#preparing;
  }

  /** What is in memory may be of a database that is gone: it is loaded anew. */
  discard(): void {
    this.#memory = undefined;
  }

  /**
   * Brings everything to the present, for the holder of a lease that a database of this lineage granted. Afterwards the standby is of no use any
   * more.
   */
  async takeOver(belonging: Belonging, lineage: string): Promise<Loaded> {
    this.#isTaken = true;
    // What is under way is nearer to its end than another beginning; if it fails, there is another beginning.
    await this.#preparing?.catch(() => undefined);
    if (this.#memory?.feed.position?.server.lineage !== lineage) this.discard();
    for (;;) {
      const memory = this.#remember();
      const isRefresh = memory.isComplete;
      memory.feed.serve(this.#reader(belonging));
      try {
        await this.#read(memory, this.#o.databaseClock.now());
      } catch (error) {
        // When what was in memory turns out to be uncertain, all is loaded anew; a load that fails has nothing left to try.
        if (!isRefresh || memory === this.#memory) throw error;
      }
      if (memory === this.#memory) return memory;
    }
  }

  async #prepare(): Promise<void> {
    const memory = this.#remember();
    const isNew = !memory.isComplete;
    // By the frontiers alone: what is due above them is the leader's to settle.
    await this.#read(memory, Number.NEGATIVE_INFINITY);
    if (isNew && memory === this.#memory)
      this.#o.logger.info({ schedules: memory.engine.schedules.size }, 'standby-ready');
  }

  async #read(memory: Memory, nowMs: number): Promise<void> {
    const { engine, feed, writeOffs } = memory;
    if (!memory.isComplete) {
      try {
        await feed.load();
      } catch (error) {
        if (memory === this.#memory) this.discard();
        throw error;
      }
      memory.isComplete = true;
      return;
    }
    await feed.refresh(({ furthestMs }, outdated) => {
      engine.overtaken(Math.max(furthestMs, nowMs), outdated);
      writeOffs.length = 0;
    });
  }

  #remember(): Memory {
    if (this.#memory) return this.#memory;
    const { store, clock, logger, metrics, timings } = this.#o;
    const writeOffs: WriteOff[] = [];
    const engine = new Engine(unitsOf(this.#scope), { writeOff: (writeOff) => writeOffs.push(writeOff) });
    const feed = new ChangeFeed(
      { store, engine, timings, clock, metrics, logger },
      this.#reader({
        unitOf: (place) => unitOf(this.#scope.strategy, place),
        liveOf: () => ALWAYS,
        quarantinedOf: () => [],
      }),
    );
    this.#memory = { engine, feed, writeOffs, isComplete: false };
    return this.#memory;
  }

  #reader(belonging: Belonging): FeedReader {
    return {
      belonging,
      onUncertain: () => this.discard(),
      onApplying: () => undefined,
      onApplied: () => undefined,
    };
  }
}

/** Until it leads, it cannot matter which slots were missed: whatever falls due meanwhile is read anew. */
const ALWAYS: readonly DueRange[] = [{ after: Number.NEGATIVE_INFINITY, through: Number.POSITIVE_INFINITY }];
