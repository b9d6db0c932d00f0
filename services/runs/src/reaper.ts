import type { Clock, Entropy } from '@carillon/core/clock.ts';
import { transaction } from '@carillon/db';
import { lockKeysOfLeases } from '@carillon/db/tables/concurrency-keys.ts';
import { releaseKeys } from '@carillon/db/tables/keyed-runs.ts';
import {
  dropLeases,
  endAttempts,
  type LapsedLeases,
  type LeaseKind,
  type LockedLease,
  lockLapsedLeases,
  selectLapsedTokens,
} from '@carillon/db/tables/run-leases.ts';
import { type RunDb, type RunRow, selectRuns } from '@carillon/db/tables/runs.ts';
import type { Logger } from '@carillon/server';
import { attemptOutcome, hasEnded } from './attempt-end.ts';
import type { RunHints } from './run-hints.ts';
import { runNameOf } from './run-message.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What reaping needs. */
export interface ReaperOptions {
  readonly db: RunDb;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly hints: RunHints;
  readonly metrics: RunMetrics;
  readonly logger: Logger;
  readonly leaseTtlMs: number;
}

/** The most attempts that are ended in one transaction. */
const BATCH = 500;

/** A pause between two passes above this is one in which heartbeats may not have been heard either. */
const MAX_PAUSE_MS = 5_000;

/**
 * Ends attempts whose lease has run out, or that exceeded their time. Several replicas may reap at once.
 *
 * A lease that ran out is taken back only after this process could reach the database for a whole lease time without a gap:
 * while it could not, or was not running, living workers may not have been able to send their heartbeats either, and an outage
 * of ours must not cost all of them an attempt.
 */
export class Reaper {
  readonly #options: ReaperOptions;
  #unbrokenSince: number;
  #lastPass: number;

  constructor(options: ReaperOptions) {
    this.#options = options;
    this.#unbrokenSince = options.clock.monotonic();
    this.#lastPass = this.#unbrokenSince;
  }

  /** One pass. Resolves to the number of attempts that were ended. */
  async reap(): Promise<number> {
    const { clock, leaseTtlMs } = this.#options;
    const startedAt = clock.monotonic();
    if (startedAt - this.#lastPass > MAX_PAUSE_MS) this.#unbrokenSince = startedAt;
    const expired = startedAt - this.#unbrokenSince >= leaseTtlMs;
    try {
      let ended = 0;
      for (const kind of ['PLAIN', 'KEYED'] as const) {
        for (let batch = BATCH; batch === BATCH; ended += batch) batch = await this.#endBatch(kind, expired);
      }
      return ended;
    } catch (error) {
      this.#unbrokenSince = clock.monotonic();
      throw error;
    } finally {
      this.#lastPass = clock.monotonic();
    }
  }

  async #endBatch(kind: LeaseKind, expired: boolean): Promise<number> {
    const { db, entropy, hints, logger, metrics } = this.#options;
    const { leases, rows } = await transaction(db, {}, async (trx) => {
      const leases = await lockLapsed(trx, { kind, expired, limit: BATCH });
      const runs = new Map((await selectRuns(trx, leases)).map((run) => [runNameOf(run), run]));
      const outcomes = [];
      const orphans = [];
      for (const lease of leases) {
        const run = runs.get(runNameOf(lease));
        if (run === undefined) orphans.push(lease.token);
        else outcomes.push(attemptOutcome({ lease, run, cause: causeOf(lease), permanent: false }, entropy));
      }
      // Their runs went out of retention while they were running.
      if (orphans.length > 0) await dropLeases(trx, orphans);
      const rows: RunRow[] = outcomes.length === 0 ? [] : await endAttempts(trx, outcomes);
      return { leases, rows: [...rows, ...(await releaseKeys(trx, rows.filter(hasEnded)))] };
    });
    for (const lease of leases) {
      metrics.takenBack(causeOf(lease));
      logger.warn(
        { run: runNameOf(lease), worker: lease.worker, cause: causeOf(lease) },
        'attempt taken back',
      );
    }
    metrics.changed(rows);
    hints.changed(rows);
    return leases.length;
  }
}

/** Locks lapsed leases, and the keys of their runs before. */
async function lockLapsed(trx: RunDb, lapsed: LapsedLeases): Promise<LockedLease[]> {
  if (lapsed.kind === 'PLAIN') return await lockLapsedLeases(trx, lapsed);
  const tokens = await selectLapsedTokens(trx, lapsed);
  if (tokens.length === 0) return [];
  await lockKeysOfLeases(trx, tokens);
  return await lockLapsedLeases(trx, lapsed, tokens);
}

function causeOf({ overdue }: LockedLease): 'LEASE_EXPIRED' | 'ATTEMPT_TIMEOUT' {
  return overdue ? 'ATTEMPT_TIMEOUT' : 'LEASE_EXPIRED';
}
