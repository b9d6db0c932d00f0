import { type Clock, sleep } from '@carillon/core/clock.ts';
import { transaction } from '@carillon/db';
import {
  addDays,
  databaseDay,
  dropDailyPartitions,
  ensureDailyPartitions,
  type PartitionWork,
} from '@carillon/db/partitions.ts';
import { sweepConcurrencyKeys } from '@carillon/db/tables/concurrency-keys.ts';
import { forgetStrayRuns, type KeyedRunPlace, selectStrayRuns } from '@carillon/db/tables/keyed-runs.ts';
import { readyQueueDepths } from '@carillon/db/tables/ready-runs.ts';
import { deleteNamesBefore } from '@carillon/db/tables/run-names.ts';
import type { RunDb } from '@carillon/db/tables/runs.ts';
import { countLiveWorkers, forgetWorkers } from '@carillon/db/tables/workers.ts';
import { CronTasks, type Logger } from '@carillon/server';
import type { Reaper } from './reaper.ts';
import type { RunHints } from './run-hints.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What the duties work with. */
export interface DutyContext {
  readonly clock: Clock;
  readonly db: RunDb;
  readonly reaper: Reaper;
  readonly hints: RunHints;
  readonly metrics: RunMetrics;
  readonly logger: Logger;
  readonly retentionDays: number;
  readonly leaseTtlMs: number;
}

/** Partitions are made for this many days ahead. */
const DAYS_AHEAD = 7;

/** A partition outlives the last day on which a run could be written into it by this many, whatever a statement waits for. */
const SPARE_DAYS = 1;

const FORGET_WORKERS_MS = 24 * 3_600_000;

const STRAYS_AT_ONCE = 1_000;

const RUNS = { table: 'runs' } as const;

/** Attempts are taken back this often, and partitions are looked at: what was put off, or failed, is made up for. */
const REAP_MS = 1_000;
const PARTITIONS_MS = 60_000;
const OBSERVE_MS = 5_000;

/**
 * What the service does by itself, again and again; several replicas may do so at once. node-cron drives what happens at times
 * of the wall clock. What must go on when that is set back goes by the monotonic clock.
 */
export class Duties {
  readonly #context: DutyContext;
  readonly #stop = new AbortController();
  #loops: Promise<void>[] = [];
  readonly #tasks: CronTasks;

  constructor(context: DutyContext) {
    this.#context = context;
    const task = (name: string, expression: string, work: () => Promise<unknown>) => ({
      name,
      expression,
      work: () => this.#guarded(name, work),
    });
    this.#tasks = new CronTasks(context.clock, [
      task('retention', '37 23 * * * *', () => enforceRetention(context)),
      task('concurrency keys', '47 */10 * * * *', () => mendKeys(context)),
    ]);
  }

  /** Begins; resolves when today's partition was seen to. Without it runs go to the default one, from where they are moved later. */
  async start(): Promise<void> {
    await this.#guarded('partitions', () => makePartitions(this.#context));
    if (this.#stop.signal.aborted) return;
    const { db, leaseTtlMs, metrics, reaper } = this.#context;
    this.#loops = [
      this.#every(REAP_MS, 'reap', () => reaper.reap()),
      this.#every(PARTITIONS_MS, 'partitions', () => makePartitions(this.#context)),
      this.#every(OBSERVE_MS, 'observe', async () =>
        metrics.observe(await readyQueueDepths(db), await countLiveWorkers(db, leaseTtlMs)),
      ),
    ];
    this.#tasks.start();
  }

  /** Begins nothing more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the duties end'));
    await this.#tasks.stop();
    await Promise.all(this.#loops);
  }

  async #every(delayMs: number, name: string, work: () => Promise<unknown>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#guarded(name, work);
      // Only the stop cuts the sleep short, and that ends the loop.
      await sleep(this.#context.clock, delayMs, signal).catch(() => undefined);
    }
  }

  async #guarded(name: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#context.metrics.dutyFailed(name);
      this.#context.logger.warn(
        { err: error, duty: name },
        'a duty failed; it is done again at its next time',
      );
    }
  }
}

/** Makes the partitions of yesterday, today and the coming days that are missing. */
export async function makePartitions({ db, logger }: Pick<DutyContext, 'db' | 'logger'>): Promise<void> {
  const today = await databaseDay(db);
  const work = await ensureDailyPartitions(db, RUNS, addDays(today, -1), addDays(today, DAYS_AHEAD));
  report(logger, work, 'partitions made');
}

/** Drops what is older than the retention. */
export async function enforceRetention(
  context: Pick<DutyContext, 'db' | 'logger' | 'retentionDays'>,
): Promise<void> {
  const { db, logger, retentionDays } = context;
  const horizon = addDays(await databaseDay(db), -retentionDays - SPARE_DAYS);
  report(logger, await dropDailyPartitions(db, RUNS, horizon), 'partitions dropped');
  await deleteNamesBefore(db, horizon);
  await forgetWorkers(db, FORGET_WORKERS_MS);
}

/**
 * Starts runs that are held back by others that are gone: beyond retention, or ended by a program of before the rows beside their keys.
 * Sweeps away the locks of keys that nobody uses.
 */
export async function mendKeys({
  db,
  hints,
  logger,
  metrics,
}: Pick<DutyContext, 'db' | 'hints' | 'logger' | 'metrics'>): Promise<void> {
  let place: KeyedRunPlace | undefined;
  do {
    const { strays, next } = await selectStrayRuns(db, place, STRAYS_AT_ONCE);
    if (strays.length > 0) {
      const started = await transaction(db, {}, (trx) => forgetStrayRuns(trx, strays));
      metrics.changed(started);
      hints.changed(started);
      logger.warn({ runs: strays.length, started: started.length }, 'runs that are over held others back');
    }
    place = next;
  } while (place !== undefined);
  await sweepConcurrencyKeys(db);
}

function report(logger: Logger, { done, putOff }: PartitionWork, what: string): void {
  if (done.length > 0) logger.info({ days: done }, what);
  if (putOff.length > 0) logger.warn({ days: putOff }, 'partitions are locked by others; later');
}
