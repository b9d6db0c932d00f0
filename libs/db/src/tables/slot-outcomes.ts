import { type SchedulePlace, shardOf } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { FRONTIERS_OF_SCHEDULE } from './schedule-feed.ts';
import { readAssignments } from './scheduler-assignments.ts';

/** How far a schedule is settled as stored, and what may keep it from going on. Times are epoch milliseconds. */
export interface SlotSettlement {
  /** The database's clock. */
  readonly nowMs: number;
  /** Every slot due up to here is settled; null: nothing is known yet. */
  readonly throughMs: number | null;
  /** What is settled above: after, through. */
  readonly settledAbove: readonly (readonly [after: number, through: number])[];
  /** Whether the schedule has a watermark of its own, because it lags behind the others. */
  readonly lags: boolean;
  /** Whether a scheduler holds the lease of its shard. */
  readonly led: boolean;
  readonly quarantineReason: string | null;
}

/**
 * Reads how far a schedule is settled: in one snapshot with its spans, for which watermarks speak only as far as they see them; and before the
 * ledger, so that what counts as settled here has its row there.
 */
export async function readSlotSettlement(
  db: pg.Pool | pg.ClientBase,
  schedule: bigint,
  place: SchedulePlace,
): Promise<SlotSettlement> {
  const { history } = await readAssignments(db);
  // While a new version takes effect, its shard may still be led under the one before.
  const leases = history.map((assignment) => [shardOf(assignment, place), assignment.version] as const);
  const { rows } = await db.query<Omit<SlotSettlement, 'settledAbove'> & { ranges: string }>(
    `select (extract(epoch from clock_timestamp()) * 1000)::float8 as "nowMs",
      floor(extract(epoch from coalesce(l.due_through, greatest(f.due_through, fp.due_through, fd.due_through))) * 1000)::float8 as "throughMs", l.schedule is not null as lags,
      (select coalesce(json_agg(json_build_array(floor(extract(epoch from lower(range)) * 1000),
        floor(extract(epoch from upper(range)) * 1000)) order by range), '[]')::text
      from unnest(l.settled_above) as range) as ranges,
      exists (
        select from scheduler_leases where owner is not null and expire_time > clock_timestamp()
          and (shard, assignment_version) in (select * from unnest($2::text[], $3::int[]))) as led,
      q.reason as "quarantineReason"
    from schedules s
    ${FRONTIERS_OF_SCHEDULE}
    left join scheduler_laggards l on l.schedule = s.id
    left join schedule_quarantines q on q.schedule = s.id
    where s.id = $1`,
    [schedule, leases.map(([shard]) => shard), leases.map(([, version]) => version)],
  );
  const [row] = rows;
  if (row === undefined) throw new Error('there is no such schedule');
  const { ranges, ...settlement } = row;
  return { ...settlement, settledAbove: JSON.parse(ranges) as [number, number][] };
}

/** A ledger row as it is read. Times are epoch milliseconds. */
export interface RecordedOutcome {
  readonly revision: number;
  /** The first and the last nominal time that the row speaks of. */
  readonly nominalMs: number;
  readonly lastNominalMs: number;
  /** How many slots that is; 0: nobody knows. */
  readonly slots: number;
  readonly outcome: 'FIRED' | 'SKIPPED' | 'MISSED' | 'DEAD';
  readonly reason: string;
  readonly message: string;
  /** Empty if it names none. */
  readonly runId: string;
  readonly fireMs: number | null;
  readonly recordMs: number;
}

/** The ledger rows that speak of any slot of a schedule from one nominal time through another. */
export async function readRecordedOutcomes(
  pool: pg.Pool,
  schedule: bigint,
  fromMs: number,
  throughMs: number,
): Promise<RecordedOutcome[]> {
  const { rows } = await pool.query<RecordedOutcome>(
    `with bounds as (
      select to_timestamp($2::float8 / 1000) as from_time, to_timestamp($3::float8 / 1000) as through_time
    ), found as (
      select l.* from slot_ledger l, bounds
      where l.schedule = $1 and l.nominal_time between from_time and through_time
        and l.day between (to_timestamp($2::float8 / 1000) at time zone 'UTC')::date
          and (to_timestamp($3::float8 / 1000) at time zone 'UTC')::date
      union all
      select l.* from slot_ledger l, bounds
      where l.schedule = $1 and l.slots <> 1 and l.last_nominal_time >= from_time and l.nominal_time < from_time
    )
    select revision, (extract(epoch from nominal_time) * 1000)::float8 as "nominalMs",
      (extract(epoch from last_nominal_time) * 1000)::float8 as "lastNominalMs", slots::float8 as slots, outcome, reason, message,
      run_id as "runId", (extract(epoch from fire_time) * 1000)::float8 as "fireMs",
      (extract(epoch from record_time) * 1000)::float8 as "recordMs"
    from found order by nominal_time, record_time`,
    [schedule, fromMs, throughMs],
  );
  return rows;
}

/** The redrives of a schedule that are under way, by nominal time: when they were asked for. Epoch milliseconds. */
export async function readRedriveTimes(
  pool: pg.Pool,
  schedule: bigint,
  fromMs: number,
  throughMs: number,
): Promise<ReadonlyMap<number, number>> {
  const { rows } = await pool.query<{ nominalMs: number; requestMs: number }>(
    `select (extract(epoch from nominal_time) * 1000)::float8 as "nominalMs",
      (extract(epoch from request_time) * 1000)::float8 as "requestMs"
    from slot_redrives
    where schedule = $1 and nominal_time between to_timestamp($2::float8 / 1000) and to_timestamp($3::float8 / 1000)`,
    [schedule, fromMs, throughMs],
  );
  return new Map(rows.map((row) => [row.nominalMs, row.requestMs]));
}
