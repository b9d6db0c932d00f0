import type { ServerSession } from '@carillon/db/server-session.ts';
import type { LastLook, LookedAtSlot } from '@carillon/db/tables/last-look.ts';
import type { RefusedRows } from '@carillon/db/tables/refused-rows.ts';
import type {
  FeedCursor,
  FeedPosition,
  FeedRow,
  GenerationRow,
  StoredWatermarks,
} from '@carillon/db/tables/schedule-feed.ts';
import type { Quarantine, QuarantinedTime } from '@carillon/db/tables/schedule-quarantines.ts';
import type {
  LeaseGrant,
  NewLease,
  ObservedLease,
  StoredLease,
  TermRow,
} from '@carillon/db/tables/scheduler-leases.ts';
import type { Flush, FlushResult } from '@carillon/db/tables/scheduler-watermarks.ts';

/**
 * All that a scheduler of one shard asks of the database. There are two: PostgreSQL (`postgres-store.ts`), and the one of the simulation, which
 * crashes, delays and loses answers by a seed. What each does is said where the SQL stands, in `libs/db/src/tables`.
 */
export interface SchedulerStore {
  acquireLease(stale: readonly ObservedLease[]): Promise<NewLease | undefined>;
  renewLease(epoch: number): Promise<LeaseGrant | undefined>;
  releaseLease(epoch: number): Promise<boolean>;
  /** The shard's lease, and what is in its way. */
  readLeases(): Promise<readonly StoredLease[]>;
  /** The terms that may still matter, oldest first: of the shard before `epoch`, and of every shard under earlier versions. */
  readTerms(epoch: number): Promise<readonly TermRow[]>;
  readAllSchedules(
    onWatermarks: (watermarks: StoredWatermarks) => void,
    onPage: (rows: readonly FeedRow[]) => Promise<void>,
  ): Promise<FeedPosition>;
  readOutdatedSchedules(
    cursor: FeedCursor,
    overtaken: (watermarks: StoredWatermarks) => Iterable<number>,
    onOutdated: (ids: ReadonlySet<number>) => void,
    onPage: (rows: readonly FeedRow[]) => Promise<void>,
  ): Promise<FeedPosition>;
  readChangedSchedules(
    cursor: FeedCursor,
    unsettledSinceMs: (id: number) => number,
    onPage: (rows: readonly FeedRow[]) => Promise<void>,
  ): Promise<FeedPosition>;
  readMissedChanges(
    cursor: FeedCursor,
    differs: (id: number, generation: number) => boolean,
    unsettledSinceMs: (id: number) => number,
    onPage: (rows: readonly FeedRow[]) => Promise<void>,
  ): Promise<FeedPosition>;
  readGenerations(
    wanted: (server: ServerSession) => boolean,
    onPage: (rows: readonly GenerationRow[]) => Promise<void>,
  ): Promise<FeedPosition>;
  lastLook(slots: readonly LookedAtSlot[]): Promise<(LastLook | undefined)[]>;
  flush(flush: Flush): Promise<FlushResult>;
  findRefusedRows(flush: Flush): Promise<readonly RefusedRows[]>;
  writeQuarantines(quarantines: readonly Quarantine[]): Promise<void>;
  liftQuarantines(schedules: readonly number[]): Promise<void>;
  liftOtherQuarantines(schedules: readonly number[]): Promise<void>;
  /** When schedules of the shard were in quarantine, as far as that may still matter. */
  readQuarantinedTimes(): Promise<readonly QuarantinedTime[]>;
}
