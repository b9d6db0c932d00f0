import type { ShardScope } from '@carillon/core/assignment.ts';
import type { EndedPause, EndedPausePlace } from '@carillon/db/tables/ended-pauses.ts';
import { readEndedPauses } from '@carillon/db/tables/ended-pauses.ts';
import {
  type LeaseHolder,
  type Redrive,
  type RedriveKey,
  readRedriveKeys,
  readRedrives,
  type SettledRedrive,
  settleRedrives,
} from '@carillon/db/tables/slot-redrives.ts';
import type pg from 'pg';

/**
 * What a leader asks of the database about slots that have their outcome: redrives of dead ones, and pauses that have ended. Nothing of it
 * touches watermarks. What each does is said where the SQL stands.
 */
export interface SettledSlotsStore {
  readRedriveKeys(limit: number): Promise<readonly RedriveKey[]>;
  readRedrives(keys: readonly RedriveKey[]): Promise<readonly Redrive[]>;
  /** Tells whether the lease is still held; if not, nothing was written. */
  settleRedrives(
    lease: Pick<LeaseHolder, 'epoch' | 'lineage'>,
    settled: readonly SettledRedrive[],
  ): Promise<boolean>;
  readEndedPauses(after: EndedPausePlace | undefined, limit: number): Promise<readonly EndedPause[]>;
}

/** The same in PostgreSQL. Pauses are read back as far as the ledger keeps its rows. */
export function createPostgresSettledSlots(options: {
  readonly pool: pg.Pool;
  readonly shard: string;
  /** The schedules of the shard. */
  readonly scope: ShardScope;
  readonly owner: string;
  readonly ledgerRetentionDays: number;
}): SettledSlotsStore {
  const { pool, shard, scope, owner, ledgerRetentionDays } = options;
  return {
    readRedriveKeys: (limit) => readRedriveKeys(pool, scope, limit),
    readRedrives: (keys) => readRedrives(pool, keys),
    settleRedrives: ({ epoch, lineage }, settled) =>
      settleRedrives(pool, { shard, owner, epoch, lineage }, settled),
    readEndedPauses: (after, limit) => readEndedPauses(pool, scope, after, ledgerRetentionDays, limit),
  };
}
