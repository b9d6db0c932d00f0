import type { ShardScope } from '@carillon/core/assignment.ts';
import { fairShares } from '@carillon/core/fair-shares.ts';
import type pg from 'pg';
import { LINEAGE } from '../server-session.ts';
import { inScope } from './schedule-scope.ts';

/** Told after the commit of new redrives. Without a payload; schedulers also look every second. */
export const REDRIVES_CHANNEL = 'carillon_slot_redrives';

/** A dead slot, as the ledger has it. */
export interface DeadSlot {
  readonly revision: number;
  readonly nominalMs: number;
}

/**
 * The dead slots of a schedule with nominal times from `fromMs` through `throughMs`, or only those of them at `nominalMs`, oldest first, at
 * most `limit`. A slot that was redriven is no longer dead.
 */
export async function readDeadSlots(
  pool: pg.Pool,
  schedule: bigint,
  range: {
    readonly fromMs: number;
    readonly throughMs: number;
    readonly nominalMs?: readonly number[];
    readonly limit: number;
  },
): Promise<DeadSlot[]> {
  const { rows } = await pool.query<DeadSlot>(
    `select l.revision, (extract(epoch from l.nominal_time) * 1000)::float8 as "nominalMs"
    from slot_ledger l
    where l.schedule = $1 and l.outcome = 'DEAD'
      and l.nominal_time between to_timestamp($2::float8 / 1000) and to_timestamp($3::float8 / 1000)
      and l.day between (to_timestamp($2::float8 / 1000) at time zone 'UTC')::date
        and (to_timestamp($3::float8 / 1000) at time zone 'UTC')::date
      and ($4::float8[] is null or l.nominal_time in (select to_timestamp(n / 1000) from unnest($4::float8[]) as n))
      and not exists (
        select from slot_ledger f
        where f.day = l.day and f.schedule = l.schedule and f.nominal_time = l.nominal_time and f.outcome = 'FIRED')
    order by l.nominal_time limit $5`,
    [schedule, range.fromMs, range.throughMs, range.nominalMs ?? null, range.limit],
  );
  return rows;
}

/** Asks for redrives. One that is under way already stays as it is. */
export async function insertRedrives(
  pool: pg.Pool,
  schedule: bigint,
  slots: readonly DeadSlot[],
  actor: string,
): Promise<void> {
  await pool.query(
    `insert into slot_redrives (schedule, revision, nominal_time, actor)
    select $1, revision, to_timestamp(nominal / 1000), $4
    from unnest($2::int[], $3::float8[]) as slot (revision, nominal)
    on conflict (schedule, nominal_time) do nothing`,
    [schedule, slots.map((slot) => slot.revision), slots.map((slot) => slot.nominalMs), actor],
  );
}

/** A redrive, by its slot. */
export interface RedriveKey {
  /** The schedule's id. */
  readonly schedule: number;
  readonly nominalMs: number;
}

/**
 * At most `limit` of the redrives of a shard that are under way. If there are more, projects share the limit, and the schedules of each share its part,
 * whose oldest slots they are: those of one that never succeed keep out no other's.
 */
export async function readRedriveKeys(
  pool: pg.Pool,
  scope: ShardScope,
  limit: number,
): Promise<RedriveKey[]> {
  const own = inScope(scope, 's', '$1');
  const { rows: waiting } = await pool.query<WaitingRedrives>(
    `select q.schedule::float8 as schedule, s.project, count(*)::float8 as count
    from slot_redrives q join schedules s on s.id = q.schedule and ${own.sql}
    group by q.schedule, s.project order by min(q.request_time)`,
    [...own.values],
  );
  if (waiting.length === 0) return [];
  const { rows } = await pool.query<RedriveKey>(
    `select share.schedule::float8 as schedule, (extract(epoch from q.nominal_time) * 1000)::float8 as "nominalMs"
    from unnest($1::bigint[], $2::int[]) as share (schedule, count)
    cross join lateral (
      select nominal_time, request_time from slot_redrives
      where schedule = share.schedule order by nominal_time limit share.count
    ) q
    order by q.request_time`,
    [waiting.map(({ schedule }) => schedule), sharesOf(waiting, limit)],
  );
  return rows;
}

/** How many redrives of a schedule are under way. */
interface WaitingRedrives {
  readonly schedule: number;
  readonly project: string;
  readonly count: number;
}

/** How many of each are read: by project, then within it. */
function sharesOf(waiting: readonly WaitingRedrives[], limit: number): number[] {
  const projects = [...Map.groupBy(waiting.keys(), (index) => waiting[index]!.project).values()];
  const countsOf = (members: readonly number[]): number[] => members.map((index) => waiting[index]!.count);
  const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);
  const parts = fairShares(
    projects.map((members) => sumOf(countsOf(members))),
    limit,
  );
  const shares = waiting.map(() => 0);
  projects.forEach((members, project) => {
    fairShares(countsOf(members), parts[project]!).forEach((share, place) => {
      shares[members[place]!] = share;
    });
  });
  return shares;
}

/** All that is needed to send a redriven slot. */
export interface Redrive extends RedriveKey {
  readonly revision: number;
  /** When it was asked for, in epoch milliseconds with a fraction: stops of the schedule count from here on. */
  readonly requestMs: number;
  readonly project: string;
  readonly domain: string;
  readonly scheduleId: string;
  /** The anchor of a rate without a start time. */
  readonly anchorMs: number | null;
  /** The revision's spec without its run, in the protobuf binary form. */
  readonly timing: Buffer;
  /** About how many bytes a run of it adds to a request. */
  readonly payloadBytes: number;
}

/** Reads redrives; those that are gone are left out. */
export async function readRedrives(pool: pg.Pool, keys: readonly RedriveKey[]): Promise<Redrive[]> {
  const { rows } = await pool.query<Redrive>(
    `select q.schedule::float8 as schedule, (extract(epoch from q.nominal_time) * 1000)::float8 as "nominalMs", q.revision,
      (extract(epoch from q.request_time) * 1000)::float8 as "requestMs", s.project, s.domain, s.schedule_id as "scheduleId",
      floor(extract(epoch from s.anchor_time) * 1000)::float8 as "anchorMs", r.timing, octet_length(r.run) as "payloadBytes"
    from unnest($1::bigint[], $2::float8[]) as key (schedule, nominal)
    join slot_redrives q on q.schedule = key.schedule and q.nominal_time = to_timestamp(key.nominal / 1000)
    join schedules s on s.id = q.schedule
    join schedule_revisions r on r.schedule = q.schedule and r.revision = q.revision
    order by q.request_time, q.nominal_time`,
    [keys.map((key) => key.schedule), keys.map((key) => key.nominalMs)],
  );
  return rows;
}

/** What came of a redrive. */
export interface SettledRedrive extends RedriveKey {
  readonly revision: number;
  /** Which request it was, by its time: one that was made since for the same slot is another. */
  readonly requestMs: number;
  /** The slot stays dead otherwise, for this reason. */
  readonly outcome: 'FIRED' | 'DEAD';
  readonly reason: string;
  readonly message: string;
  /** Empty unless it fired. */
  readonly runId: string;
  /** When CreateRun was first sent; undefined if it did not fire, or that is not known. */
  readonly fireMs: number | undefined;
  readonly latenessMs: number | undefined;
}

/** Whose writes these are: they count while the epoch holds the lease, under the lineage that it was granted under. */
export interface LeaseHolder {
  readonly shard: string;
  readonly owner: string;
  readonly epoch: number;
  readonly lineage: string;
}

/**
 * Settles redrives in one statement: a further ledger row for each that fired, the new reason on the row of each that is dead all the same, and
 * the requests go. Twice is harmless, also when the slot was asked for again in between. Tells whether the epoch still holds the lease; if not, nothing was written.
 */
export async function settleRedrives(
  pool: pg.Pool,
  holder: LeaseHolder,
  settled: readonly SettledRedrive[],
): Promise<boolean> {
  const { rows } = await pool.query<{ held: boolean }>(
    `with lease as materialized (
      select 1 from scheduler_leases where shard = $1 and owner = $2 and epoch = $3 and ${LINEAGE} = $14 for share
    ), settled as materialized (
      select schedule, to_timestamp(nominal / 1000) as nominal_time, revision, outcome, reason, message, run_id,
        to_timestamp(fire / 1000) as fire_time, lateness, request
      from unnest($4::bigint[], $5::float8[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[], $11::float8[], $12::float8[],
        $13::float8[]) as row (schedule, nominal, revision, outcome, reason, message, run_id, fire, lateness, request), lease
    ), fired as (
      insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, message,
        run_id, fire_time, lateness_ms, epoch)
      select (nominal_time at time zone 'UTC')::date, schedule, revision, nominal_time, nominal_time, 1, outcome, reason, message,
        run_id, fire_time, lateness, $3
      from settled where outcome = 'FIRED'
      on conflict (day, schedule, nominal_time, outcome) do nothing
    ), dead as (
      update slot_ledger l set reason = settled.reason, message = settled.message, epoch = $3, record_time = clock_timestamp()
      from settled
      where settled.outcome = 'DEAD' and l.outcome = 'DEAD' and l.schedule = settled.schedule
        and l.nominal_time = settled.nominal_time and l.day = (settled.nominal_time at time zone 'UTC')::date
    ), done as (
      delete from slot_redrives q using settled
      where q.schedule = settled.schedule and q.nominal_time = settled.nominal_time
        -- As it was read: in a double, which has room for microseconds.
        and (extract(epoch from q.request_time) * 1000)::float8 = settled.request
    )
    select exists (select from lease) as held`,
    [
      holder.shard,
      holder.owner,
      holder.epoch,
      settled.map((row) => row.schedule),
      settled.map((row) => row.nominalMs),
      settled.map((row) => row.revision),
      settled.map((row) => row.outcome),
      settled.map((row) => row.reason),
      settled.map((row) => row.message),
      settled.map((row) => row.runId),
      settled.map((row) => row.fireMs ?? null),
      settled.map((row) => row.latenessMs ?? null),
      settled.map((row) => row.requestMs),
      holder.lineage,
    ],
  );
  return rows[0]?.held ?? false;
}
