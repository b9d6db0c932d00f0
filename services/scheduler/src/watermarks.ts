import type { ShardingStrategy } from '@carillon/core/assignment.ts';
import { type Clock, sleep } from '@carillon/core/clock.ts';
import { isDataError } from '@carillon/db/sqlstate.ts';
import type { FeedPosition } from '@carillon/db/tables/schedule-feed.ts';
import type { Flush } from '@carillon/db/tables/scheduler-watermarks.ts';
import type { Logger } from '@carillon/server';
import type { Checkpoint } from './checkpoints.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Engine } from './engine.ts';
import type { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { Refusals } from './refusals.ts';
import type { SchedulerStore } from './scheduler-store.ts';

/** What flushes act through. */
export interface WatermarksOptions {
  readonly store: Pick<SchedulerStore, 'flush'>;
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly refusals: Refusals;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
  readonly shard: string;
  readonly owner: string;
  readonly epoch: number;
  /** That of the lease. */
  readonly lineage: string;
  /** What the engine's units are. */
  readonly strategy: ShardingStrategy;
  /** The format that rows are written in. */
  readonly format: number;
  /** Moves the engine to the present. */
  readonly advance: () => void;
  /** What the engine has read; undefined: in part, and nothing can be written until it has read all of it. */
  readonly feedPosition: () => FeedPosition | undefined;
  /** A flush that rests on this snapshot is committed. */
  readonly onFlushed: (feedSnapshot: string) => void;
  /** The database refused the epoch, for another leads, or the lineage, for it is another database. */
  readonly onFenced: () => void;
  /** The server may have crashed since the feed was read: it is to be read again before the next flush. */
  readonly onUnproven: () => void;
  /** Reads the feed again, to its end. */
  readonly readAgain: () => Promise<void>;
}

/** What came of a flush. `INCOMPLETE`: something is left for another one. `UNPROVEN`: the feed has to be read first. */
type FlushOutcome = 'COMPLETE' | 'INCOMPLETE' | 'UNPROVEN' | 'FAILED';

/** Every unit's frontier is written this often even if nothing was settled in it, so that no restart looks back far. */
const EVERY_UNIT_FLUSHES = 60;
/** How often a flush is tried without what the database refused: each time that may be found in it which was hidden before. */
const MOST_ROUNDS = 4;

/** Writes down what is settled: frontiers, laggards and ledger rows together, in one statement guarded by the epoch. */
export class Watermarks {
  readonly #o: WatermarksOptions;
  #flushing: Promise<FlushOutcome> | undefined;
  /** Numbers what is sent, written or not. */
  #number = 0;
  #flushes = 0;
  #frontierMs = Number.NEGATIVE_INFINITY;

  constructor(options: WatermarksOptions) {
    this.#o = options;
  }

  /** The frontier as last written, in epoch milliseconds. */
  get frontierMs(): number {
    return this.#frontierMs;
  }

  /** Writes what is settled now. A call during another one waits for it and then writes again. */
  async flush(): Promise<void> {
    await this.#flushAfterOthers(false);
  }

  /**
   * Writes all that is settled, in as many flushes as that takes, for the next leader to find it. It ends early when a flush fails, and begins
   * none after `limitMs`: what is not written then is sent again, and found there. Never rejects.
   */
  async writeOut(limitMs: number): Promise<void> {
    const { clock, logger } = this.#o;
    const endMs = clock.monotonic() + limitMs;
    try {
      for (;;) {
        const result = await this.#flushAfterOthers(true);
        const leftMs = endMs - clock.monotonic();
        if ((result !== 'INCOMPLETE' && result !== 'UNPROVEN') || leftMs <= 0) return;
        if (result === 'UNPROVEN') await within(this.#o.readAgain(), clock, leftMs);
      }
    } catch (error) {
      logger.warn({ err: error }, 'not all that is settled could be written; it is sent again');
    }
  }

  async #flushAfterOthers(isLast: boolean): Promise<FlushOutcome> {
    while (this.#flushing) await this.#flushing;
    const flushing = this.#flush(isLast).finally(() => {
      this.#flushing = undefined;
    });
    this.#flushing = flushing;
    return await flushing;
  }

  async #flush(isLast: boolean): Promise<FlushOutcome> {
    const { refusals, logger } = this.#o;
    refusals.resume();
    for (let round = 1; ; round++) {
      const written = await this.#write(isLast);
      if (typeof written === 'object') {
        if (round === MOST_ROUNDS || !(await this.#quarantine(written))) return 'FAILED';
        continue;
      }
      await refusals.announce().catch((error: unknown) => {
        logger.warn({ err: error }, 'quarantines could not be written down; the next flush tries again');
      });
      return written;
    }
  }

  /** Puts those into quarantine whose rows the database refuses. True: there are some, so that the others may be written. */
  async #quarantine(flush: Flush): Promise<boolean> {
    const { refusals, logger } = this.#o;
    try {
      if (await refusals.find(flush)) return true;
      logger.error(
        {},
        'a flush failed because of its data, but of no one schedule; the next one says it again',
      );
    } catch (error) {
      logger.warn({ err: error }, 'what the database refuses could not be found; the next flush tries again');
    }
    return false;
  }

  /** Writes what is settled. Resolves to the flush itself if it could not be written because of its data. */
  async #write(isLast: boolean): Promise<FlushOutcome | Flush> {
    const { store, engine, ledger, databaseClock, metrics, logger } = this.#o;
    const { shard, owner, epoch, lineage, strategy, format } = this.#o;
    const position = this.#o.feedPosition();
    if (position === undefined) return 'UNPROVEN';
    const nowMs = databaseClock.now();
    this.#o.advance();
    const everyUnit = this.#flushes % EVERY_UNIT_FLUSHES === 0;
    const extent = everyUnit ? 'EVERY_UNIT' : 'TOUCHED';
    const checkpoint = engine.checkpoints.next(nowMs, isLast ? 'LAST' : extent);
    const rows = ledger.take();
    if (isEmpty(checkpoint) && rows.length === 0) {
      this.#flushes++;
      ledger.putBack(rows);
      return 'COMPLETE';
    }
    engine.checkpoints.begin(checkpoint);
    const { schedules } = engine;
    const flush: Flush = {
      shard,
      owner,
      epoch,
      number: ++this.#number,
      lineage,
      format,
      strategy,
      units: checkpoint.units,
      throughMs: checkpoint.throughMs,
      feedSnapshot: position.snapshot,
      feedSession: position.server.session,
      laggards: checkpoint.laggards.map(({ schedule, throughMs, settledAbove }) => ({
        schedule: schedules.id[schedule]!,
        throughMs,
        settledAbove,
      })),
      caughtUp: checkpoint.caughtUp.map((schedule) => schedules.id[schedule]!),
      ledger: rows,
    };
    try {
      const result = await store.flush(flush);
      if (result === 'FENCED') {
        metrics.flushes.inc({ result: 'fenced' });
        this.#o.onFenced();
        return 'FAILED';
      }
      if (result === 'UNPROVEN') {
        engine.checkpoints.rollBack(checkpoint);
        ledger.putBack(rows);
        metrics.flushes.inc({ result: 'unproven' });
        this.#o.onUnproven();
        return 'UNPROVEN';
      }
    } catch (error) {
      engine.checkpoints.rollBack(checkpoint);
      ledger.putBack(rows);
      metrics.flushes.inc({ result: 'failed' });
      logger.warn({ err: error, ledgerRows: rows.length }, 'a flush failed; the next one says it again');
      return isDataError(error) ? flush : 'FAILED';
    }
    this.#flushes++;
    engine.checkpoints.confirm(checkpoint);
    this.#frontierMs = checkpoint.frontierMs;
    metrics.flushes.inc({ result: 'written' });
    this.#o.onFlushed(position.snapshot);
    return checkpoint.isComplete ? 'COMPLETE' : 'INCOMPLETE';
  }
}

function isEmpty({ units, laggards, caughtUp }: Checkpoint): boolean {
  return units.length === 0 && laggards.length === 0 && caughtUp.length === 0;
}

/** Waits for some work, but no longer than `limitMs`. */
async function within(work: Promise<void>, clock: Clock, limitMs: number): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race([work, sleep(clock, limitMs, over.signal)]);
  } finally {
    over.abort(new Error('the work is done'));
  }
}
