import type pg from 'pg';
import { type LedgerRow, ledgerColumns } from './slot-ledger.ts';

/** The version of what frontier and laggard rows mean. A reader refuses a newer one. */
export const WATERMARK_FORMAT = 1;

/** A schedule's own watermark, in epoch milliseconds of due time. */
export interface LaggardRow {
  readonly schedule: number;
  readonly unit: number;
  readonly throughMs: number;
  /** What is settled above: after, through. */
  readonly settledAbove: readonly { readonly after: number; readonly through: number }[];
}

/** What one flush writes, all or nothing. */
export interface Flush {
  readonly shard: string;
  readonly owner: string;
  readonly epoch: number;
  readonly units: readonly number[];
  /** The frontier of each of them, in epoch milliseconds of due time. */
  readonly throughMs: readonly number[];
  /** The snapshot of the feed read that the frontier rests on. */
  readonly feedSnapshot: string;
  readonly laggards: readonly LaggardRow[];
  /** Schedules whose laggard row goes. */
  readonly caughtUp: readonly number[];
  readonly ledger: readonly LedgerRow[];
}

/** Writes a flush in one statement, if the writer's epoch still holds the lease; tells whether it did. */
export async function flushWatermarks(pool: pg.Pool, flush: Flush): Promise<boolean> {
  const { laggards } = flush;
  const { rows } = await pool.query<{ held: boolean }>(
    `with lease as materialized (
      select 1 from scheduler_leases where shard = $1 and owner = $2 and epoch = $3 for share
    ), frontiers as (
      insert into scheduler_frontiers (unit, due_through, feed_snapshot, epoch, format)
      select unit, to_timestamp(through / 1000), $6::pg_snapshot, $3, ${WATERMARK_FORMAT}
      from unnest($4::smallint[], $5::float8[]) as row (unit, through), lease
      on conflict (unit) do update set due_through = excluded.due_through, feed_snapshot = excluded.feed_snapshot,
        epoch = excluded.epoch, format = excluded.format
    ), laggards as (
      insert into scheduler_laggards (schedule, unit, due_through, settled_above, epoch, format)
      select schedule, unit, to_timestamp(through / 1000), above::tstzmultirange, $3, ${WATERMARK_FORMAT}
      from unnest($7::bigint[], $8::smallint[], $9::float8[], $10::text[]) as row (schedule, unit, through, above), lease
      on conflict (schedule) do update set due_through = excluded.due_through, settled_above = excluded.settled_above,
        epoch = excluded.epoch, format = excluded.format
    ), caught_up as (
      delete from scheduler_laggards where schedule = any ($11::bigint[]) and exists (select from lease)
    ), ledger as (
      insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, message,
        run_id, fire_time, lateness_ms, epoch)
      select (to_timestamp(nominal / 1000) at time zone 'UTC')::date, schedule, revision, to_timestamp(nominal / 1000),
        to_timestamp(last_nominal / 1000), slots, outcome, reason, message, run_id, to_timestamp(fire / 1000), lateness, $3
      from unnest($12::bigint[], $13::int[], $14::float8[], $15::float8[], $16::bigint[], $17::text[], $18::text[], $19::text[],
        $20::text[], $21::float8[], $22::float8[])
        as row (schedule, revision, nominal, last_nominal, slots, outcome, reason, message, run_id, fire, lateness), lease
      on conflict (day, schedule, nominal_time, outcome) do nothing
    )
    select exists (select from lease) as held`,
    [
      flush.shard,
      flush.owner,
      flush.epoch,
      flush.units,
      flush.throughMs,
      flush.feedSnapshot,
      laggards.map((row) => row.schedule),
      laggards.map((row) => row.unit),
      laggards.map((row) => row.throughMs),
      laggards.map((row) => multirange(row.settledAbove)),
      flush.caughtUp,
      ...ledgerColumns(flush.ledger),
    ],
  );
  return rows[0]?.held ?? false;
}

/** (after, through] as PostgreSQL writes a tstzmultirange. */
function multirange(ranges: LaggardRow['settledAbove']): string {
  return `{${ranges.map(({ after, through }) => `("${instant(after)}","${instant(through)}"]`).join(',')}}`;
}

function instant(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
