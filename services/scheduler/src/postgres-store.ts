import { type Assignment, olderLeases, scopeOf } from '@carillon/core/assignment.ts';
import { LONGEST_CATCH_UP_WINDOW_MS } from '@carillon/core/schedule-spec.ts';
import { lastLook } from '@carillon/db/tables/last-look.ts';
import { findRefusedRows } from '@carillon/db/tables/refused-rows.ts';
import {
  readAllSchedules,
  readChangedSchedules,
  readGenerations,
  readMissedChanges,
  readOutdatedSchedules,
} from '@carillon/db/tables/schedule-feed.ts';
import {
  liftOtherQuarantines,
  liftQuarantines,
  readQuarantinedTimes,
  writeQuarantines,
} from '@carillon/db/tables/schedule-quarantines.ts';
import {
  acquireLease,
  type LeaseClaim,
  readLeases,
  readTerms,
  releaseLease,
  renewLease,
} from '@carillon/db/tables/scheduler-leases.ts';
import { flushWatermarks, watermarkFormat } from '@carillon/db/tables/scheduler-watermarks.ts';
import type pg from 'pg';
import type { SchedulerStore } from './scheduler-store.ts';

/** Whose schedules it is about, and over which connections. */
export interface PostgresStoreOptions {
  /** For all that must end before a lease does. */
  readonly pool: pg.Pool;
  /** For reads of the feed, which may take longer than a lease. */
  readonly feedPool: pg.Pool;
  readonly assignment: Assignment;
  /** All assignments up to that one. */
  readonly history: readonly Assignment[];
  /** A shard of that assignment. */
  readonly shard: string;
  readonly owner: string;
  readonly leaseTtlMs: number;
}

/** The database as the scheduler of a shard sees it. */
export function createPostgresStore({
  pool,
  feedPool,
  assignment,
  history,
  shard,
  owner,
  leaseTtlMs,
}: PostgresStoreOptions): SchedulerStore {
  const { version } = assignment;
  const scope = scopeOf(assignment, shard);
  const claim: LeaseClaim = {
    shard,
    version,
    older: olderLeases(history, assignment, shard),
    format: watermarkFormat(assignment),
    owner,
    ttlMs: leaseTtlMs,
  };
  /** Of the database that granted the last lease. */
  let lineage: string | undefined;
  return {
    acquireLease: async (stale) => {
      const grant = await acquireLease(pool, claim, stale);
      if (grant) lineage = grant.lineage;
      return grant;
    },
    renewLease: (epoch) => renewLease(pool, shard, owner, epoch, leaseTtlMs),
    releaseLease: (epoch) => releaseLease(pool, shard, owner, epoch),
    readLeases: () => readLeases(pool, claim),
    readTerms: (epoch) => readTerms(pool, { shard, version }, epoch, LONGEST_CATCH_UP_WINDOW_MS),
    readAllSchedules: (onWatermarks, onPage) =>
      withClient(feedPool, (client) => readAllSchedules(client, scope, onWatermarks, onPage)),
    readOutdatedSchedules: (cursor, overtaken, onOutdated, onPage) =>
      withClient(feedPool, (client) =>
        readOutdatedSchedules(client, scope, cursor, overtaken, onOutdated, onPage),
      ),
    readChangedSchedules: (cursor, unsettledSinceMs, onPage) =>
      withClient(feedPool, (client) => readChangedSchedules(client, scope, cursor, unsettledSinceMs, onPage)),
    readMissedChanges: (cursor, differs, unsettledSinceMs, onPage) =>
      withClient(feedPool, (client) =>
        readMissedChanges(client, scope, cursor, differs, unsettledSinceMs, onPage),
      ),
    readGenerations: (wanted, onPage) =>
      withClient(feedPool, (client) => readGenerations(client, wanted, onPage)),
    lastLook: (slots) => lastLook(pool, slots, lineage),
    flush: (flush) => flushWatermarks(pool, flush),
    findRefusedRows: (flush) => withClient(pool, (client) => findRefusedRows(client, flush)),
    writeQuarantines: (quarantines) => writeQuarantines(pool, quarantines),
    liftQuarantines: (schedules) => liftQuarantines(pool, schedules),
    liftOtherQuarantines: (schedules) => liftOtherQuarantines(pool, scope, schedules),
    readQuarantinedTimes: () => readQuarantinedTimes(pool, scope, LONGEST_CATCH_UP_WINDOW_MS),
  };
}

async function withClient<T>(pool: pg.Pool, use: (client: pg.ClientBase) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    const result = await use(client);
    client.release();
    return result;
  } catch (error) {
    // A connection that failed in the middle of a transaction is not worth keeping.
    client.release(error instanceof Error ? error : true);
    throw error;
  }
}
