import type { Clock, Entropy, Timer } from '@carillon/core/clock.ts';
import { transaction } from '@carillon/db';
import {
  type LeasedRunRow,
  putBackReadyRuns,
  type ReadyRun,
  selectInputBytes,
  startAttempts,
  takeReadyRuns,
  untilReadyMs,
} from '@carillon/db/tables/ready-runs.ts';
import { type HeldLease, handBackRuns } from '@carillon/db/tables/run-leases.ts';
import type { RunDb } from '@carillon/db/tables/runs.ts';
import type { Logger } from '@carillon/server';
import { MAX_PAYLOAD_BYTES } from '@carillon/server/run-spec-message.ts';
import type { RunHints } from './run-hints.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What a worker asks for. */
export interface LeaseDemand {
  readonly worker: string;
  /** At least one. */
  readonly queues: readonly string[];
  /** The most runs to lease, at least 1. */
  readonly limit: number;
  /** How long to wait for one if none is ready, in milliseconds; 0 not at all. */
  readonly waitMs: number;
  /** The worker has gone: what is leased for it meanwhile goes back. */
  readonly signal: AbortSignal;
  /** Answer now, with what there is. */
  readonly draining: AbortSignal;
}

/** What leasing needs. */
export interface DispatcherOptions {
  readonly db: RunDb;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly hints: RunHints;
  readonly metrics: RunMetrics;
  readonly logger: Logger;
  readonly leaseTtlMs: number;
}

/** The most runs that are leased in one transaction. */
const MAX_LEASED = 500;

/** The most bytes of inputs that are leased at once: what is leased must not fail to be sent. */
const MAX_LEASED_BYTES = 8 * 1024 * 1024;

/** Hints may be lost, and retries fall due without one: queues that workers wait for are looked at this often. */
const RECHECK_MS = 1_000;

/** Leases ready runs to the workers that wait for them. */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #groups = new Map<string, WaitingGroup>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Leases runs, at once or when there are some; none when the wait is over. */
  lease(demand: LeaseDemand): Promise<LeasedRunRow[]> {
    const queues = [...new Set(demand.queues)].sort();
    const key = queues.join(' ');
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new WaitingGroup(this.#options, queues, () => this.#groups.delete(key));
      this.#groups.set(key, group);
    }
    return group.add(demand);
  }

  /** Runs may have become ready in these queues; without them, in any. */
  wake(queues?: ReadonlySet<string>): void {
    for (const group of [...this.#groups.values()]) {
      if (queues === undefined || group.queues.some((queue) => queues.has(queue))) group.wake();
    }
  }
}

interface Waiter {
  readonly demand: LeaseDemand;
  readonly settle: (rows: LeasedRunRow[]) => void;
  readonly fail: (reason: unknown) => void;
  settled: boolean;
}

/**
 * The workers that wait for the same queues. They are served together, in one transaction, one after another: many that
 * wait cost no more than one, and do not compete for the same rows.
 */
class WaitingGroup {
  readonly queues: readonly string[];
  readonly #options: DispatcherOptions;
  readonly #empty: () => void;
  readonly #waiters = new Set<Waiter>();
  #again = false;
  #serving = false;
  #recheck: Timer | undefined;

  constructor(options: DispatcherOptions, queues: readonly string[], empty: () => void) {
    this.queues = queues;
    this.#options = options;
    this.#empty = empty;
  }

  add(demand: LeaseDemand): Promise<LeasedRunRow[]> {
    const { signal, draining, waitMs } = demand;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        waiter.settled = true;
        this.#waiters.delete(waiter);
        timer?.cancel();
        signal.removeEventListener('abort', onAbort);
        draining.removeEventListener('abort', onDrain);
        this.#endIfIdle();
      };
      const waiter: Waiter = {
        demand,
        settled: false,
        settle: (rows) => {
          end();
          resolve(rows);
        },
        fail: (reason) => {
          end();
          reject(reason);
        },
      };
      const onAbort = (): void => waiter.fail(signal.reason);
      const onDrain = (): void => waiter.settle([]);
      const timer = waitMs === 0 ? undefined : this.#options.clock.after(waitMs, () => waiter.settle([]));
      this.#waiters.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
      draining.addEventListener('abort', onDrain, { once: true });
      if (signal.aborted) onAbort();
      else if (draining.aborted) onDrain();
      else this.wake();
    });
  }

  wake(): void {
    this.#again = true;
    if (this.#serving) return;
    this.#serving = true;
    void this.#serve().finally(() => {
      this.#serving = false;
      this.#endIfIdle();
    });
  }

  async #serve(): Promise<void> {
    this.#recheck?.cancel();
    while (this.#again && this.#waiters.size > 0) {
      this.#again = false;
      const served = [...this.#waiters];
      try {
        const leased = await this.#lease(served);
        await this.#deliver(served, leased);
        if (leased.length > 0) this.#again = true;
        else await this.#scheduleRecheck();
      } catch (error) {
        for (const waiter of served) if (!waiter.settled) waiter.fail(error);
      }
    }
  }

  async #lease(waiters: readonly Waiter[]): Promise<LeasedRunRow[]> {
    const { db, entropy, leaseTtlMs, logger } = this.#options;
    const wanted = waiters.reduce((sum, { demand }) => sum + demand.limit, 0);
    const leased = await transaction(db, {}, async (trx) => {
      const ready = await takeWithinBytes(trx, this.queues, Math.min(wanted, MAX_LEASED));
      if (ready.length === 0) return [];
      const assignments = spread(ready, waiters).map(({ run, waiter }) => ({
        ...run,
        worker: waiter.demand.worker,
        token: entropy.uuid(),
      }));
      const rows = await startAttempts(trx, assignments, leaseTtlMs);
      if (rows.length < ready.length) {
        logger.error({ ready: ready.length, leased: rows.length }, 'runs were ready that were not queued');
      }
      return rows;
    });
    this.#options.metrics.leased(leased);
    this.#options.hints.changed(leased);
    return leased;
  }

  async #deliver(waiters: readonly Waiter[], leased: readonly LeasedRunRow[]): Promise<void> {
    const orphans: LeasedRunRow[] = [];
    const shares = Map.groupBy(leased, ({ worker }) => worker);
    for (const waiter of waiters) {
      // Two calls of one worker: the first that has room takes its share.
      const share = shares.get(waiter.demand.worker)?.splice(0, waiter.demand.limit) ?? [];
      if (waiter.settled) orphans.push(...share);
      else if (share.length > 0) waiter.settle(share.sort((a, b) => a.available_micros - b.available_micros));
      else if (waiter.demand.waitMs === 0) waiter.settle([]);
    }
    await this.#handBack(orphans);
  }

  /** The worker went away while runs were being leased for it: it must not cost them an attempt. */
  async #handBack(rows: readonly LeasedRunRow[]): Promise<void> {
    if (rows.length === 0) return;
    const { db, hints, logger, metrics } = this.#options;
    try {
      await handBackRuns(
        db,
        rows.map((row): HeldLease => ({ ...row, token: row.lease_token })),
      );
      metrics.handedBack(rows.length);
      hints.changed(rows.map(({ queue }) => ({ queue, phase: 'QUEUED' })));
    } catch (error) {
      // Their leases run out, and the reaper does the rest.
      logger.warn({ err: error, runs: rows.length }, 'leases that nobody holds could not be handed back');
    }
  }

  async #scheduleRecheck(): Promise<void> {
    if (this.#waiters.size === 0 || this.#again) return;
    const untilMs = (await untilReadyMs(this.#options.db, this.queues)) ?? RECHECK_MS;
    const delayMs = Math.min(RECHECK_MS, Math.max(1, untilMs));
    this.#recheck = this.#options.clock.after(delayMs, () => this.wake());
  }

  #endIfIdle(): void {
    if (this.#waiters.size > 0 || this.#serving) return;
    this.#recheck?.cancel();
    this.#empty();
  }
}

/** Takes ready runs whose inputs fit into one answer; at least one, if there is any. */
async function takeWithinBytes(trx: RunDb, queues: readonly string[], limit: number): Promise<ReadyRun[]> {
  const ready = await takeReadyRuns(trx, queues, limit);
  if (ready.length * MAX_PAYLOAD_BYTES <= MAX_LEASED_BYTES) return ready;
  let bytes = 0;
  const sizes = await selectInputBytes(trx, ready);
  const fitting = sizes.findIndex((size) => {
    bytes += size;
    return bytes > MAX_LEASED_BYTES;
  });
  if (fitting === -1) return ready;
  await putBackReadyRuns(trx, ready.slice(Math.max(1, fitting)));
  return ready.slice(0, Math.max(1, fitting));
}

/** Gives each waiter one run in turn, until all are given or nobody wants more. */
function spread(runs: readonly ReadyRun[], waiters: readonly Waiter[]): { run: ReadyRun; waiter: Waiter }[] {
  const given: { run: ReadyRun; waiter: Waiter }[] = [];
  for (let round = 0; given.length < runs.length; round++) {
    const before = given.length;
    for (const waiter of waiters) {
      const run = runs[given.length];
      if (run !== undefined && round < waiter.demand.limit) given.push({ run, waiter });
    }
    if (given.length === before) throw new RangeError('more runs were taken than waiters want');
  }
  return given;
}
