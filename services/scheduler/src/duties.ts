import { type Clock, sleep } from '@carillon/core/clock.ts';
import { createDatabase } from '@carillon/db';
import { addDays, databaseDay, dropDailyPartitions, ensureDailyPartitions } from '@carillon/db/partitions.ts';
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
  readonly shards: Shards;
  readonly balancer: Balancer;
  readonly clockWatch: ClockWatch;
  readonly replicas: Replicas;
  /** How long the slot ledger keeps its rows. */
  readonly ledgerRetentionDays: number;
}

const LEDGER = { table: 'slot_ledger' };
const PARTITIONS_AHEAD_DAYS = 7;

/** How often watermarks are written and the feed is polled. */
export const BEAT_MS = 1_000;

/** How many beats there are between two reports of catching up. */
const BEATS_PER_REPORT = 10;

/**
 * What is done every so often. node-cron drives what happens at times of the wall clock; the beat of each second goes by the monotonic
 * clock, because a wall clock that is set back an hour must not stop the flushes for an hour.
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
    ]);
  }

  start(): void {
    void this.#beat();
    this.#tasks.start();
    void this.#guarded('ledger partitions', () => this.#partitions());
  }

  stop(): void {
    this.#stop.abort(new Error('the duties end'));
    void this.#tasks.stop();
  }

  async #beat(): Promise<void> {
    const { clock, clockWatch, replicas, shards, balancer } = this.#o;
    const { signal } = this.#stop;
    for (let beat = 1; !signal.aborted; beat++) {
      await sleep(clock, BEAT_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      clockWatch.check();
      shards.changed();
      shards.redriven();
      shards.recordPauses();
      if (beat % BEATS_PER_REPORT === 0) shards.reportCatchUp();
      await this.#guarded('flush', () => shards.flush());
      await this.#guarded('replica beat', () => replicas.beat());
      // Both may wait for much, and no flush is to wait for that.
      void this.#guarded('sharding', () => shards.follow());
      void this.#guarded('balance', () => balancer.balance());
    }
  }

  async #partitions(): Promise<void> {
    const db = createDatabase<unknown>(this.#o.pool);
    const today = await databaseDay(db);
    await ensureDailyPartitions(db, LEDGER, addDays(today, -1), addDays(today, PARTITIONS_AHEAD_DAYS));
    await dropDailyPartitions(db, LEDGER, addDays(today, -this.#o.ledgerRetentionDays));
  }

  async #guarded(name: string, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#o.logger.warn({ err: error, duty: name }, 'a duty failed; it is done again at its next time');
    }
  }
}
