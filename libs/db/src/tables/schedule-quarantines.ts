import type { ShardScope } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { inScope } from './schedule-scope.ts';

/** A schedule that a scheduler cannot plan. */
export interface Quarantine {
  readonly schedule: number;
  readonly generation: number;
  readonly reason: string;
}

/** Records quarantines. Writes nothing where nothing changes. */
export async function writeQuarantines(pool: pg.Pool, quarantines: readonly Quarantine[]): Promise<void> {
  await pool.query(
    `insert into schedule_quarantines (schedule, generation, reason)
    select * from unnest($1::bigint[], $2::bigint[], $3::text[])
    on conflict (schedule) do update set generation = excluded.generation, reason = excluded.reason
    where (schedule_quarantines.generation, schedule_quarantines.reason) is distinct from (excluded.generation, excluded.reason)`,
    [
      quarantines.map((row) => row.schedule),
      quarantines.map((row) => row.generation),
      quarantines.map((row) => row.reason),
    ],
  );
}

/** Lifts the quarantines of schedules that can be planned again. */
export async function liftQuarantines(pool: pg.Pool, schedules: readonly number[]): Promise<void> {
  await pool.query('delete from schedule_quarantines where schedule = any ($1::bigint[])', [schedules]);
}

/** Lifts all quarantines of a shard's schedules but those of `schedules`. */
export async function liftOtherQuarantines(
  pool: pg.Pool,
  scope: ShardScope,
  schedules: readonly number[],
): Promise<void> {
  const own = inScope(scope, 's', '$2');
  await pool.query(
    `delete from schedule_quarantines q
    where q.schedule <> all ($1::bigint[])
      ${own.values.length > 0 ? `and exists (select from schedules s where s.id = q.schedule and ${own.sql})` : ''}`,
    [schedules, ...own.values],
  );
}
