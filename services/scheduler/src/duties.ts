import { type Clock, sleep } from '@carillon/core/clock.ts';
import { LONGEST_CATCH_UP_WINDOW_MS } from '@carillon/core/schedule-spec.ts';
import { createDatabase } from '@carillon/db';
import { addDays, databaseDay, dropDailyPartitions, ensureDailyPartitions } from '@carillon/db/partitions.ts';
import { deleteOldQuarantines } from '@carillon/db/tables/schedule-quarantines.ts';
import { deleteOldTerms } from '@carillon/db/tables/scheduler-leases.ts';
import { CronTasks, type Logger } from '@carillon/server';
import type pg from 'pg';
import type { Balancer } from './balancer.ts';
import type { ClockWatch } from './clock-watch.ts';
import type { Replicas } from './replicas.ts';
import type { Shards } from './shards.ts';

/** What the duties work on. */
export interface DutiesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly pool: pg.Pool;
  readonly shards: Pick<
    Shards,
    'changed' | 'redriven' | 'recordPauses' | 'reportCatchUp' | 'compareAll' | 'flush' | 'follow'
  >;
  readonly balancer: Pick<Balancer, 'balance'>;
  readonly clockWatch: Pick<ClockWatch, 'check'>;
  readonly replicas: Pick<Replicas, 'beat'>;
  /** How long the slot ledger keeps its rows. */
  readonly ledgerRetentionDays: number;
}

const LEDGER = { table: 'slot_ledger' };
const PARTITIONS_AHEAD_DAYS = 7;

/** How often watermarks are written, the feed is polled, and the clocks are looked at. */
export const BEAT_MS = 1_000;

/** How often it is told how far catching up has come. */
const REPORT_MS = 10_000;

/**
 * What is done every so often. node-cron drives what happens at times of the wall clock; what is done each second goes by the monotonic
 * clock, because a wall clock that is set back an hour must not stop the flushes for an hour. Each has a timer of its own, so that a database
 * that is slow to answer one keeps no other waiting, and is not mistaken for a process that stood still.
 */
export class Duties {
  readonly #o: DutiesOptions;
  readonly #stop = new AbortController();
  readonly #tasks: CronTasks;

  constructor(options: DutiesOptions) {
    this.#o = options;
    const { clock, shards } = options;
    const task = (name: string, expression: string, work: () => unknown) => ({
      name,
      expression,
      work: () => this.#guarded(name, work),
    });
    this.#tasks = new CronTasks(clock, [
      task('full comparison', '*/5 * * * *', () => shards.compareAll()),
      task('ledger partitions', '7 * * * *', () => this.#partitions()),
      task('old terms', '17 * * * *', () => this.#deleteOld()),
    ]);
  }

  start(): void {
    const { clockWatch, replicas, shards, balancer } = this.#o;
    void this.#every(BEAT_MS, 'clock watch', () => clockWatch.check());
    void this.#every(BEAT_MS, 'poll', () => {
      shards.changed();
      shards.redriven();
      shards.recordPauses();
    });
    void this.#every(BEAT_MS, 'flush', () => shards.flush());
    void this.#every(BEAT_MS, 'replica beat', () => replicas.beat());
    void this.#every(BEAT_MS, 'sharding', () => shards.follow());
    void this.#every(BEAT_MS, 'balance', () => balancer.balance());
    void this.#every(REPORT_MS, 'catch-up report', () => shards.reportCatchUp());
    this.#tasks.start();
    void this.#guarded('ledger partitions', () => this.#partitions());
    void this.#guarded('old terms', () => this.#deleteOld());
  }

  stop(): void {
    this.#stop.abort(new Error('the duties end'));
    void this.#tasks.stop();
  }

  /** Does it again so long after it was done. */
  async #every(intervalMs: number, name: string, work: () => unknown): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await sleep(this.#o.clock, intervalMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      await this.#guarded(name, work);
    }
  }

  async #partitions(): Promise<void> {
    const db = createDatabase<unknown>(this.#o.pool);
    const today = await databaseDay(db);
    await ensureDailyPartitions(db, LEDGER, addDays(today, -1), addDays(today, PARTITIONS_AHEAD_DAYS));
    await dropDailyPartitions(db, LEDGER, addDays(today, -this.#o.ledgerRetentionDays));
  }

  /** What no catch-up window reaches back to. */
  async #deleteOld(): Promise<void> {
    await deleteOldTerms(this.#o.pool, LONGEST_CATCH_UP_WINDOW_MS);
    await deleteOldQuarantines(this.#o.pool, LONGEST_CATCH_UP_WINDOW_MS);
  }

  async #guarded(name: string, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#o.logger.warn({ err: error, duty: name }, 'a duty failed; it is done again at its next time');
    }
  }
}
