import {
  type Assignment,
  isSingleShard,
  type ShardingStrategy,
  type UnitKey,
} from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { LINEAGE, sessionLives } from '../server-session.ts';
import { type LedgerRow, ledgerColumns } from './slot-ledger.ts';

/**
 * The newest version of what frontier and laggard rows mean. A reader refuses a newer one. 1: one scheduler writes all of them, by hash slot. 2:
 * there may be several shards, and frontiers by name.
 */
export const NEWEST_WATERMARK_FORMAT = 2;

/** The format in which watermarks are written under an assignment: the oldest whose readers do no harm under it. */
export function watermarkFormat(assignment: Assignment): number {
  return isSingleShard(assignment) ? 1 : NEWEST_WATERMARK_FORMAT;
}

/** A schedule's own watermark, in epoch milliseconds of due time. */
export interface LaggardRow {
  readonly schedule: number;
  readonly throughMs: number;
  /** What is settled above: after, through. */
  readonly settledAbove: readonly { readonly after: number; readonly through: number }[];
}

/** What one flush writes, all or nothing. */
export interface Flush {
  readonly shard: string;
  readonly owner: string;
  readonly epoch: number;
  /** Numbers the flushes of the epoch, from 1: one that arrives after a later one is not written. */
  readonly number: number;
  /** That of the lease: in a promoted standby, what the flush rests on may never have been committed. */
  readonly lineage: string;
  /** Of the rows: see `watermarkFormat`. */
  readonly format: number;
  readonly strategy: ShardingStrategy;
  /** Units of that strategy. */
  readonly units: readonly UnitKey[];
  /** The frontier of each of them, in epoch milliseconds of due time. */
  readonly throughMs: readonly number[];
  /** The snapshot of the feed read that the frontier rests on, and the session that read it. */
  readonly feedSnapshot: string;
  readonly feedSession: string;
  readonly laggards: readonly LaggardRow[];
  /** Schedules whose laggard row goes. */
  readonly caughtUp: readonly number[];
  readonly ledger: readonly LedgerRow[];
}

/**
 * What became of a flush. `FENCED`: the lease is another's, or of another database. `UNPROVEN`: the session that read the feed has ended, perhaps
 * with the server, which may then hand out ids again that the snapshot takes for settled. Nothing was written in either case.
 */
export type FlushResult = 'WRITTEN' | 'FENCED' | 'UNPROVEN';

/**
 * Writes a flush in one statement, if the writer's epoch still holds the lease under the same lineage, and has written no later one. It locks the
 * lease's row, so whoever takes the lease over comes before it or after it.
 */
export async function flushWatermarks(pool: pg.Pool, flush: Flush): Promise<FlushResult> {
  const { rows } = await pool.query<{ held: boolean; proven: boolean }>(statement(HELD), parameters(flush));
  const [result] = rows;
  if (result?.held) return 'WRITTEN';
  return result?.proven ? 'FENCED' : 'UNPROVEN';
}

/** (after, through] as PostgreSQL writes a tstzmultirange. */
function multirange(ranges: LaggardRow['settledAbove']): string {
  return `{${ranges.map(({ after, through }) => `("${instant(after)}","${instant(through)}"]`).join(',')}}`;
}

function instant(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

/** The fence: the lease is held under its lineage, and what the flush rests on is certain. */
const HELD = `update scheduler_leases set flushes = $4
      where shard = $1 and owner = $2 and epoch = $3 and flushes < $4 and ${LINEAGE} = $27 and (select proven from proof)
      returning 1`;

/** In place of the fence, for a trial that is rolled back. */
const TRIAL = `select 1 where ($1::text, $2::text, $4::bigint, $27::text) is not null`;

function statement(lease: string): string {
  return `with proof as materialized (
  select ${sessionLives('$28::text')} as proven
), lease as materialized (
  ${lease}
), frontiers as (
  insert into scheduler_frontiers (unit, due_through, feed_snapshot, epoch, format)
  select unit, to_timestamp(through / 1000), $6::pg_snapshot, $3, $5
  from unnest($7::smallint[], $8::float8[]) as row (unit, through), lease
  on conflict (unit) do update set due_through = excluded.due_through, feed_snapshot = excluded.feed_snapshot,
    epoch = excluded.epoch, format = excluded.format
), named_frontiers as (
  insert into scheduler_named_frontiers (strategy, name, due_through, feed_snapshot, epoch, format)
  select $9, name, to_timestamp(through / 1000), $6::pg_snapshot, $3, $5
  from unnest($10::text[], $11::float8[]) as row (name, through), lease
  on conflict (strategy, name) do update set due_through = excluded.due_through, feed_snapshot = excluded.feed_snapshot,
    epoch = excluded.epoch, format = excluded.format
), laggards as (
  insert into scheduler_laggards (schedule, unit, due_through, settled_above, epoch, format)
  select schedule, s.hash_slot, to_timestamp(through / 1000), above::tstzmultirange, $3, $5
  from unnest($12::bigint[], $13::float8[], $14::text[]) as row (schedule, through, above)
  join schedules s on s.id = schedule, lease
  on conflict (schedule) do update set due_through = excluded.due_through, settled_above = excluded.settled_above,
    epoch = excluded.epoch, format = excluded.format
), caught_up as (
  delete from scheduler_laggards where schedule = any ($15::bigint[]) and exists (select from lease)
), row as materialized (
  select (to_timestamp(nominal / 1000) at time zone 'UTC')::date as day, schedule, revision, to_timestamp(nominal / 1000) as nominal_time,
    to_timestamp(last_nominal / 1000) as last_nominal_time, slots, outcome, reason, message, run_id, fire, lateness
  from unnest($16::bigint[], $17::int[], $18::float8[], $19::float8[], $20::bigint[], $21::text[], $22::text[], $23::text[],
    $24::text[], $25::float8[], $26::float8[])
    as row (schedule, revision, nominal, last_nominal, slots, outcome, reason, message, run_id, fire, lateness), lease
), ledger as (
  insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, message,
    run_id, fire_time, lateness_ms, epoch)
  select day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, message, run_id,
    to_timestamp(fire / 1000), lateness, $3
  from row
  on conflict (day, schedule, nominal_time, outcome) do nothing
), extended as (
  -- What nobody can count is one stretch, however it was cut when its parts were settled.
  update slot_ledger l set last_nominal_time = row.last_nominal_time
  from row
  where row.slots = 0 and l.slots = 0 and l.day = row.day and l.schedule = row.schedule and l.nominal_time = row.nominal_time
    and l.outcome = row.outcome and l.last_nominal_time < row.last_nominal_time
)
select exists (select from lease) as held, (select proven from proof) as proven`;
}

function parameters(flush: Flush): unknown[] {
  const { laggards, strategy, units, throughMs } = flush;
  const byHash = strategy === 'hash';
  return [
    flush.shard,
    flush.owner,
    flush.epoch,
    flush.number,
    flush.format,
    flush.feedSnapshot,
    byHash ? units : [],
    byHash ? throughMs : [],
    strategy,
    byHash ? [] : units,
    byHash ? [] : throughMs,
    laggards.map((row) => row.schedule),
    laggards.map((row) => row.throughMs),
    laggards.map((row) => multirange(row.settledAbove)),
    flush.caughtUp,
    ...ledgerColumns(flush.ledger),
    flush.lineage,
    flush.feedSession,
  ];
}

/**
 * Tries whether the database takes rows of a flush, without its frontiers and whoever holds the lease. To be rolled back.
 *
 * @throws what the database says against one of them
 */
export async function tryRows(
  client: pg.ClientBase,
  flush: Flush,
  rows: Pick<Flush, 'laggards' | 'ledger'>,
): Promise<void> {
  await client.query(
    statement(TRIAL),
    parameters({ ...flush, ...rows, units: [], throughMs: [], caughtUp: [] }),
  );
}
