import type { ShardScope } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { inScope } from './schedule-scope.ts';

/** A schedule that a scheduler cannot plan. */
export interface Quarantine {
  readonly schedule: number;
  readonly generation: number;
  readonly reason: string;
  /** The newest span that hands out nothing; undefined: none does. */
  readonly throughSpan: number | undefined;
}

/** When a schedule was in quarantine. Epoch milliseconds by the database's clock. */
export interface QuarantinedTime {
  readonly schedule: number;
  readonly fromMs: number;
  /** If it still is: when that was read. */
  readonly toMs: number;
  /** The newest span that handed out nothing; null: none did. */
  readonly throughSpan: number | null;
}

/** Records quarantines. Writes nothing where nothing changes; one that is known goes on since it began. */
export async function writeQuarantines(pool: pg.Pool, quarantines: readonly Quarantine[]): Promise<void> {
  await pool.query(
    `insert into schedule_quarantines as q (schedule, generation, reason, through_span)
    select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::int[])
    on conflict (schedule) do update
    set generation = excluded.generation, reason = excluded.reason, through_span = excluded.through_span
    where (q.generation, q.reason, q.through_span) is distinct from (excluded.generation, excluded.reason, excluded.through_span)`,
    [
      quarantines.map((row) => row.schedule),
      quarantines.map((row) => row.generation),
      quarantines.map((row) => row.reason),
      quarantines.map((row) => row.throughSpan ?? null),
    ],
  );
}

/** Keeps when the quarantines in `lifted` were. */
const KEEP_TIMES = `insert into schedule_ended_quarantines (schedule, from_time, to_time, through_span)
    select schedule, since, greatest(since, clock_timestamp()), through_span from lifted
    on conflict do nothing`;

/** Lifts the quarantines of schedules that can be planned again. */
export async function liftQuarantines(pool: pg.Pool, schedules: readonly number[]): Promise<void> {
  await pool.query(
    `with lifted as (delete from schedule_quarantines where schedule = any ($1::bigint[]) returning *) ${KEEP_TIMES}`,
    [schedules],
  );
}

/** Lifts all quarantines of a shard's schedules but those of `schedules`. */
export async function liftOtherQuarantines(
  pool: pg.Pool,
  scope: ShardScope,
  schedules: readonly number[],
): Promise<void> {
  const own = inScope(scope, 's', '$2');
  await pool.query(
    `with lifted as (
      delete from schedule_quarantines q
      where q.schedule <> all ($1::bigint[])
        ${own.values.length > 0 ? `and exists (select from schedules s where s.id = q.schedule and ${own.sql})` : ''}
      returning *
    ) ${KEEP_TIMES}`,
    [schedules, ...own.values],
  );
}

/** When schedules of a shard were in quarantine, as far as it ended within `windowMs` or has not ended. */
export async function readQuarantinedTimes(
  pool: pg.Pool,
  scope: ShardScope,
  windowMs: number,
): Promise<QuarantinedTime[]> {
  const own = inScope(scope, 's', '$2');
  const { rows } = await pool.query<QuarantinedTime>(
    `select q.schedule::float8 as schedule, floor(extract(epoch from from_time) * 1000)::float8 as "fromMs",
      floor(extract(epoch from to_time) * 1000)::float8 as "toMs", through_span as "throughSpan"
    from (
      select schedule, from_time, to_time, through_span from schedule_ended_quarantines
      where to_time > clock_timestamp() - $1 * interval '1 millisecond'
      union all select schedule, since, greatest(since, clock_timestamp()), through_span from schedule_quarantines
    ) q
    ${own.values.length > 0 ? `join schedules s on s.id = q.schedule and ${own.sql}` : ''}
    order by q.schedule, from_time`,
    [windowMs, ...own.values],
  );
  return rows;
}

/** Forgets the quarantines that ended longer than `windowMs` ago. Returns how many there were. */
export async function deleteOldQuarantines(pool: pg.Pool, windowMs: number): Promise<number> {
  const { rowCount } = await pool.query(
    `delete from schedule_ended_quarantines where to_time < clock_timestamp() - $1 * interval '1 millisecond'`,
    [windowMs],
  );
  return rowCount ?? 0;
}
