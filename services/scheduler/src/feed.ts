import type { Clock } from '@carillon/core/clock.ts';
import { sleep } from '@carillon/core/clock.ts';
import type { ServerSession } from '@carillon/db/server-session.ts';
import type { FeedPosition, FeedRow, StoredWatermarks } from '@carillon/db/tables/schedule-feed.ts';
import type { Quarantine } from '@carillon/db/tables/schedule-quarantines.ts';
import type { Logger } from '@carillon/server';
import type { Engine } from './engine.ts';
import { OTHER_DATABASE } from './leadership.ts';
import type { SchedulerMetrics } from './metrics.ts';
import { Quarantines } from './quarantines.ts';
import type { ScheduleRecord } from './schedule-record.ts';
import {
  type Belonging,
  SETTLED_BEFORE,
  type StoredBefore,
  scheduleRecords,
  storedWatermarks,
} from './schedule-records.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import type { TimingCache } from './timing-cache.ts';

/** What the feed reads from, and what it fills. */
export interface FeedOptions {
  readonly store: SchedulerStore;
  readonly engine: Engine;
  readonly timings: TimingCache;
  readonly clock: Clock;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
}

/** Whom a feed serves. */
export interface FeedReader {
  readonly belonging: Belonging;
  /** Nothing in memory is certain any more: all of it is to be read anew, into another engine. */
  onUncertain(reason: string): void;
  /** The engine is about to change: what has fallen due by now, fell due before. */
  onApplying(): void;
  /** The engine has changed. */
  onApplied(): void;
}

/** The database is another than the one that granted the lease: a standby was promoted, or a backup restored. */
export class OtherDatabaseError extends Error {
  override readonly name = 'OtherDatabaseError';

  /** @param before its lineage, and @param now that of the database that answers */
  constructor(before: string, now: string) {
    super(`the database was ${before} and is ${now}`);
  }
}

/** How many sessions are remembered: there are as many as connections of a pool, and each may be replaced. */
const MOST_SESSIONS = 64;
/** Records that are applied at one go: a few milliseconds' work. */
const RECORDS_PER_TURN = 500;

/**
 * The change feed: everything once, then what changed. Its cursor is the snapshot of its own last read, and it reads what that could not
 * see, so a transaction that commits late is not lost. Applying is by generation, so reading something twice is harmless.
 */
export class ChangeFeed {
  readonly #o: FeedOptions;
  #reader: FeedReader;
  /** Those that cannot be planned, and what the reader adds. */
  readonly quarantines: Quarantines;
  /** Sessions of the database that have answered a read: while one of them answers, the server has not crashed since. */
  readonly #sessions = new Set<string>();
  /** Schedules that were forgotten, or whose timers were taken out, and that have not been read anew. */
  readonly #outdated = new Set<number>();
  #position: FeedPosition | undefined;
  #committedSnapshot: string | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #rewinds = 0;
  #isAhead = false;
  #completeAtMs = Number.NEGATIVE_INFINITY;
  #currentAsOfMs = Number.NEGATIVE_INFINITY;

  constructor(options: FeedOptions, reader: FeedReader) {
    this.#o = options;
    this.#reader = reader;
    this.quarantines = new Quarantines(options.store);
  }

  /** Serves another one from now on. */
  serve(reader: FeedReader): void {
    this.#reader = reader;
  }

  /** The read up to which everything is in the engine; undefined before the load, and when that is not certain any more. */
  get position(): FeedPosition | undefined {
    return this.#position;
  }

  /**
   * Whether the engine has taken in what the snapshot does not see: a part of a read that has not come to its end. What is settled of that
   * cannot be stored beside this snapshot, for whoever loads it would take it for news, and decide anew.
   */
  get isAhead(): boolean {
    return this.#isAhead;
  }

  /** When the last read began that came to its end, by the monotonic clock: what was committed before that is in the engine. */
  get currentAsOfMs(): number {
    return this.#currentAsOfMs;
  }

  /** How long ago the feed was last read to its end, in milliseconds. */
  get lagMs(): number {
    return this.#o.clock.monotonic() - this.#completeAtMs;
  }

  /** Reads everything. */
  async load(): Promise<void> {
    const { engine, logger, clock } = this.#o;
    const startedAtMs = clock.monotonic();
    let before: StoredBefore = SETTLED_BEFORE;
    const reader = this.#pages(() => before);
    const position = await this.#o.store.readAllSchedules(
      (watermarks) => {
        this.#committedSnapshot = watermarks.feedSnapshot;
        before = storedWatermarks(watermarks.laggards);
        engine.resume(watermarks.frontiers);
      },
      (rows) => reader.page(rows),
    );
    await reader.end();
    this.#sessions.add(position.server.session);
    this.#position = position;
    this.#isAhead = false;
    this.#completeAtMs = clock.monotonic();
    logger.info(
      {
        schedules: engine.schedules.size,
        streams: engine.streamSize,
        ms: Math.round(clock.monotonic() - startedAtMs),
      },
      'loaded all schedules',
    );
  }

  /**
   * Brings an engine that nobody drives to what a load would find now: forgets what has changed since the last read, what is `overtaken`
   * given the watermarks, and what has one of its own, and reads it anew. If it fails, the next one reads all of that again.
   *
   * @param overtaken adds ids to those that are outdated
   */
  async refresh(overtaken: (watermarks: StoredWatermarks, outdated: Set<number>) => void): Promise<void> {
    const { engine, store, clock } = this.#o;
    const startedAtMs = clock.monotonic();
    let before: StoredBefore = SETTLED_BEFORE;
    const reader = this.#pages(() => before);
    const position = await store.readOutdatedSchedules(
      (server) => this.#cursorOn(server),
      (watermarks) => {
        this.#committedSnapshot = watermarks.feedSnapshot;
        before = storedWatermarks(watermarks.laggards);
        engine.resume(watermarks.frontiers);
        overtaken(watermarks, this.#outdated);
        return this.#outdated;
      },
      (ids) => {
        for (const id of ids) {
          this.#outdated.add(id);
          engine.forget(id);
          this.quarantines.lift(id);
        }
      },
      (rows) => reader.page(rows),
    );
    await reader.end();
    this.#outdated.clear();
    this.#position = position;
    this.#isAhead = false;
    this.#currentAsOfMs = startedAtMs;
    this.#completeAtMs = clock.monotonic();
  }

  /** Says from now on on the schedules themselves which of them cannot be planned. */
  async announce(): Promise<void> {
    this.#tell(this.quarantines.all);
    await this.#written(this.quarantines.announce());
  }

  /** Reads what changed. A call during another one makes that one read again, and waits for it. */
  async poll(): Promise<void> {
    this.#again = true;
    this.#reading ??= this.#readWhileAsked().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  /** A committed frontier row rests on this snapshot. */
  committed(snapshot: string): void {
    this.#committedSnapshot = snapshot;
  }

  /**
   * The database may have crashed: go on from what it is known to have kept. It may hand out again the transaction id of an abort
   * that it never flushed, but none that a committed row saw.
   */
  rewind(): void {
    if (this.#position === undefined) return;
    if (this.#committedSnapshot === undefined) {
      this.#position = undefined;
      this.#reader.onUncertain('the database may have crashed, and no frontier says what it has kept');
      return;
    }
    this.#rewinds++;
    this.#position = { ...this.#position, snapshot: this.#committedSnapshot };
    this.#isAhead = true;
  }

  /** Compares everything with the engine, and reads what differs. It finds nothing, unless the feed has a fault. */
  async compareAll(): Promise<void> {
    const { engine, metrics, logger } = this.#o;
    if (this.#position === undefined) return;
    const reader = this.#pages(() => SETTLED_BEFORE);
    await this.#o.store.readMissedChanges(
      (server) => this.#cursorOn(server),
      (id, generation) => {
        const schedule = engine.schedules.find(id);
        return schedule === undefined || generation > engine.schedules.generation[schedule]!;
      },
      (id) => engine.unsettledSinceMs(id),
      (rows) => reader.page(rows),
    );
    await reader.end();
    if (reader.applied > 0) {
      metrics.feedMissed.inc(reader.applied);
      logger.error({ schedules: reader.applied }, 'the full comparison found changes that the feed had not');
    }
  }

  async #readWhileAsked(): Promise<void> {
    const { engine, metrics, clock } = this.#o;
    while (this.#again) {
      this.#again = false;
      if (this.#position === undefined) return;
      let rewinds = this.#rewinds;
      const startedAtMs = clock.monotonic();
      const reader = this.#pages(() => SETTLED_BEFORE);
      const position = await this.#o.store.readChangedSchedules(
        (server) => {
          const cursor = this.#cursorOn(server);
          rewinds = this.#rewinds;
          return cursor;
        },
        (id) => engine.unsettledSinceMs(id),
        (rows) => reader.page(rows),
      );
      await reader.end();
      // What was read before a rewind may be of a database that is gone.
      if (this.#rewinds === rewinds) {
        this.#position = position;
        this.#isAhead = false;
        this.#currentAsOfMs = startedAtMs;
      } else this.#again = true;
      this.#completeAtMs = clock.monotonic();
      if (reader.applied > 0) {
        metrics.feedChanges.inc(reader.applied);
        metrics.armDelay.observe((clock.monotonic() - startedAtMs) / 1000);
      }
    }
  }

  /** Where to go on from, given who answers. */
  #cursorOn(server: ServerSession): string {
    this.#checkLineage(server);
    if (!this.#sessions.has(server.session)) {
      // A new session may be that of a server which has crashed since the last read, before the listener has noticed.
      this.rewind();
      if (this.#sessions.size >= MOST_SESSIONS) this.#sessions.clear();
      this.#sessions.add(server.session);
    }
    if (this.#position === undefined) throw new Error('what was read before is not certain any more');
    return this.#position.snapshot;
  }

  #checkLineage({ lineage }: ServerSession): void {
    const known = this.#position?.server.lineage;
    if (lineage === known || known === undefined) return;
    this.#reader.onUncertain(OTHER_DATABASE);
    throw new OtherDatabaseError(known, lineage);
  }

  /** Applies pages of rows; a schedule whose rows stand across two pages is applied when it is whole. */
  #pages(before: () => StoredBefore): {
    page(rows: readonly FeedRow[]): Promise<void>;
    end(): Promise<void>;
    readonly applied: number;
  } {
    let rest: FeedRow[] = [];
    let applied = 0;
    const apply = async (rows: readonly FeedRow[]): Promise<void> => {
      const problems: ScheduleRecord[] = [];
      let turn = 0;
      this.#reader.onApplying();
      for (const record of scheduleRecords(rows, before(), this.#reader.belonging, this.#o.timings)) {
        applied++;
        this.#isAhead = true;
        this.#o.engine.apply(record);
        if (record.problem !== undefined && this.#isToldOf(record)) problems.push(record);
        if (++turn % RECORDS_PER_TURN === 0) await sleep(this.#o.clock, 0);
      }
      this.#reader.onApplied();
      await this.#quarantine(rows, problems);
    };
    return {
      page: async (rows) => {
        const all = [...rest, ...rows];
        const lastId = all.at(-1)?.id;
        const whole = all.filter((row) => row.id !== lastId);
        rest = all.filter((row) => row.id === lastId);
        if (whole.length > 0) await apply(whole);
      },
      end: async () => {
        if (rest.length > 0) await apply(rest);
      },
      get applied() {
        return applied;
      },
    };
  }

  /** Whether its problem still matters: what cannot be read is in force, or not settled. */
  #isToldOf({ id, unreadable }: ScheduleRecord): boolean {
    return unreadable.some(({ toMs }) => toMs === Number.POSITIVE_INFINITY) || this.#o.engine.hasUnread(id);
  }

  /** Keeps which schedules cannot be planned, and which can again; says so on the schedules themselves. */
  async #quarantine(rows: readonly FeedRow[], problems: readonly ScheduleRecord[]): Promise<void> {
    const { engine } = this.#o;
    const quarantines = problems.map(({ id, generation, problem, unreadable }) => ({
      schedule: id,
      generation,
      reason: problem ?? '',
      throughSpan: unreadable.at(-1)?.span,
    }));
    const failed = new Set(problems.map(({ id }) => id));
    for (const { id } of rows) {
      if (!failed.has(id) && !engine.isRefused(id) && !engine.isSuspended(id)) this.quarantines.lift(id);
    }
    for (const quarantine of quarantines) this.quarantines.add(quarantine);
    if (this.quarantines.announces) this.#tell(quarantines);
    await this.#written(this.quarantines.write());
  }

  /** What is said of quarantined schedules keeps nobody else waiting: each flush tries again. */
  async #written(writing: Promise<void>): Promise<void> {
    await writing.catch((error: unknown) => {
      this.#o.logger.warn(
        { err: error },
        'quarantines could not be written down; the next flush tries again',
      );
    });
  }

  #tell(quarantines: readonly Quarantine[]): void {
    const { metrics, logger } = this.#o;
    for (const { schedule, generation, reason } of quarantines) {
      metrics.scheduleFailures.inc();
      logger.error(
        { scheduleId: schedule, generation, problem: reason },
        'quarantined: the schedule cannot be planned',
      );
    }
  }
}
