import type { Assignment } from '@carillon/core/assignment.ts';
import type { Clock, Entropy } from '@carillon/core/clock.ts';
import type { TokenBucket } from '@carillon/core/token-bucket.ts';
import { watermarkFormat } from '@carillon/db/tables/scheduler-watermarks.ts';
import type { Logger } from '@carillon/server';
import { Alarm } from './alarm.ts';
import type { Breaker } from './breaker.ts';
import { CatchUpReport } from './catch-up-report.ts';
import type { DatabaseClock } from './database-clock.ts';
import { EndedPauses } from './ended-pauses.ts';
import type { Engine } from './engine.ts';
import { Executor } from './executor.ts';
import { type ChangeFeed, OtherDatabaseError } from './feed.ts';
import type { Leadership, Lease } from './leadership.ts';
import { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import { Ownership } from './ownership.ts';
import { Redrives } from './redrives.ts';
import { Refusals } from './refusals.ts';
import type { NameScheme } from './run-request.ts';
import type { RunsTarget } from './runs-target.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import type { SettledSlotsStore } from './settled-slots-store.ts';
import type { ExecutorLimits } from './slot-choice.ts';
import type { Loaded, Standby } from './standby.ts';
import type { TimingCache } from './timing-cache.ts';
import { Watermarks } from './watermarks.ts';
import { WriteOffs } from './write-offs.ts';

/** What a term works with. */
export interface TermOptions {
  readonly store: SchedulerStore;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly databaseClock: DatabaseClock;
  readonly logger: Logger;
  readonly metrics: SchedulerMetrics;
  readonly leadership: Leadership;
  readonly target: RunsTarget;
  readonly bucket: TokenBucket;
  readonly breaker: Breaker;
  readonly assignment: Assignment;
  /** All assignments up to that one. */
  readonly history: readonly Assignment[];
  /** A shard of that assignment. */
  readonly shard: string;
  readonly owner: string;
  readonly nameScheme: NameScheme;
  /** Whether the target refuses what arrives after `not_after`. Default: it does. */
  readonly targetKnowsNotAfter?: boolean | undefined;
  readonly limits: ExecutorLimits;
  /** Shared by all terms: what a revision's timing compiles to never changes. */
  readonly timings: TimingCache;
  /** Where redrives and ended pauses are read from. Default: they are not followed. */
  readonly settledSlots?: SettledSlotsStore | undefined;
  /** Whether the ledger also records the slots that fired. Default: it does not, for their runs say it. */
  readonly recordFired?: boolean | undefined;
}

/**
 * One leadership: everything in memory, as a standby loaded it from what was persisted, and the loops that work on it. It ends with its
 * lease, and nothing of it is kept.
 */
export class Term {
  readonly lease: Lease;
  readonly engine: Engine;
  readonly feed: ChangeFeed;
  readonly executor: Executor;
  readonly watermarks: Watermarks;
  readonly ledger: Ledger;
  readonly catchUpReport: CatchUpReport;
  readonly #redrives: Redrives | undefined;
  readonly #endedPauses: EndedPauses | undefined;
  readonly #o: TermOptions;
  readonly #writeOffs: WriteOffs;
  readonly #stop = new AbortController();
  readonly #alarm: Alarm;
  #loops: Promise<unknown> = Promise.resolve();

  private constructor(options: TermOptions, lease: Lease, ownership: Ownership, loaded: Loaded) {
    const { store, clock, databaseClock, metrics, logger, target, nameScheme, shard, owner, leadership } =
      options;
    const { assignment } = options;
    this.#o = options;
    this.#alarm = new Alarm(clock, databaseClock, () => this.#advance());
    this.lease = lease;
    this.engine = loaded.engine;
    this.feed = loaded.feed;
    const common = { store, engine: this.engine, clock, databaseClock, metrics, logger };
    const { settledSlots, timings, recordFired = false } = options;
    const { quarantines } = loaded.feed;
    this.ledger = new Ledger((row) => {
      if (!this.engine.isRefused(row.schedule)) return false;
      refusals.refused(row);
      return true;
    });
    const { ledger } = this;
    const refusals = new Refusals({ ...common, ledger, quarantines });
    const firedLedger = recordFired ? this.ledger : undefined;
    if (settledSlots !== undefined) {
      this.#redrives = new Redrives({
        ...common,
        settledSlots,
        target,
        nameScheme,
        timings,
        lease,
        probeTimeoutMs: options.limits.callTimeoutMs,
        onReady: () => this.executor.wake(),
      });
      this.#endedPauses = new EndedPauses({
        ...common,
        settledSlots,
        timings,
        ledger: {
          add: (row) => refusals.addAside(row),
          get isFull() {
            return ledger.isFull;
          },
        },
      });
    }
    this.#writeOffs = new WriteOffs({
      ...common,
      feed: this.feed,
      ledger: this.ledger,
      firedLedger,
      target,
      nameScheme,
      sentBeforeMs: ownership.sentBeforeMs,
      earlierNotAfterMs: lease.firstExpireMs,
      targetKnowsNotAfter: options.targetKnowsNotAfter ?? true,
      lease,
      probeTimeoutMs: options.limits.callTimeoutMs,
    });
    this.engine.serve({
      writeOff: (writeOff) => this.#writeOffs.add(writeOff),
      cleared: (id) => {
        if (!this.engine.isRefused(id) && !this.engine.isSuspended(id)) quarantines.lift(id);
      },
    });
    for (const writeOff of loaded.writeOffs) this.#writeOffs.add(writeOff);
    this.feed.serve({
      belonging: ownership,
      onUncertain: (reason) => leadership.lose(reason),
      onApplying: () => this.#advance(),
      onApplied: () => this.#advance(),
    });
    this.catchUpReport = new CatchUpReport(common);
    this.executor = new Executor({
      ...common,
      ...options,
      lease,
      redrives: this.#redrives,
      // Where all that was due is taken, what comes after it is due next.
      onTurn: () => this.#alarm.setNoLater(this.engine.nextDueMs),
      quarantines: this.feed.quarantines,
      ledger: this.ledger,
      firedLedger,
    });
    this.watermarks = new Watermarks({
      ...common,
      ledger: this.ledger,
      shard,
      owner,
      epoch: lease.epoch,
      lineage: lease.lineage,
      strategy: assignment.strategy,
      format: watermarkFormat(assignment),
      refusals,
      advance: () => this.#advance(),
      feedPosition: () => (this.feed.isAhead ? undefined : this.feed.position),
      onFlushed: (snapshot) => this.feed.committed(snapshot),
      onFenced: () => leadership.lose('the database refused the lease'),
      onUnproven: () => this.feed.rewind(),
      readAgain: () => this.feed.poll(),
    });
  }

  /** Takes over what the standby knows, brings it to the present, and begins to work. */
  static async begin(options: TermOptions, lease: Lease, standby: Standby): Promise<Term> {
    const { store, assignment, history, shard } = options;
    // Before the quarantines of those that can be read again are lifted.
    const [earlier, quarantined] = await Promise.all([
      store.readTerms(lease.epoch),
      store.readQuarantinedTimes(),
    ]);
    const readyMs = lease.grantedAtMs;
    const ownership = new Ownership({
      assignment,
      history,
      shard,
      earlier,
      quarantined,
      readyMs,
      isOtherDatabase: lease.isOtherDatabase,
    });
    const loaded = await standby.takeOver(ownership, lease.lineage);
    const { lineage } = loaded.feed.position!.server;
    if (lineage !== lease.lineage) throw new OtherDatabaseError(lease.lineage, lineage);
    await loaded.feed.announce();
    const term = new Term(options, lease, ownership, loaded);
    term.#start();
    return term;
  }

  /** Takes up redrives, and writes down what came of them. */
  async redrive(): Promise<void> {
    await this.#redrives?.poll();
  }

  /** Records the slots of pauses that have ended. */
  async recordPauses(): Promise<void> {
    await this.#endedPauses?.record(this.#stop.signal);
  }

  /** Sends nothing any more. Answers of calls in flight are still taken in. */
  stop(): void {
    this.#stop.abort(new Error('the term ends'));
    this.#alarm.cancel();
  }

  /** Resolves when every loop has ended. */
  async ended(): Promise<void> {
    await this.#loops;
  }

  #start(): void {
    const signal = AbortSignal.any([this.#stop.signal, this.lease.signal]);
    this.lease.signal.addEventListener('abort', () => this.stop(), { once: true });
    this.#loops = Promise.all([this.executor.run(signal), this.#writeOffs.run(signal)]);
    this.#advance();
  }

  /** Moves what is due to the executor, and arms one timer for what is due next. */
  #advance(): void {
    if (this.#stop.signal.aborted) return;
    const more = this.engine.advance(this.#o.databaseClock.now());
    this.executor.wake();
    this.#alarm.set(more ? Number.NEGATIVE_INFINITY : this.engine.nextDueMs);
  }
}
