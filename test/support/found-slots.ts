import type pg from 'pg';
import type { Change, Found, FoundRun, FoundWriteOff } from './slot-checker.ts';

/** Reads back every run of a slot in a project, and what the ledger says of slots without one, in one snapshot. */
export async function findSlots(pool: pg.Pool, project: string): Promise<Found> {
  const client = await pool.connect();
  try {
    await client.query('begin isolation level repeatable read read only');
    const runs = await client.query<FoundRun>(
      `select project, domain, schedule_id as schedule, run_id as "runId", ${ms('nominal_time')} as "nominalMs",
        ${ms('fire_time')} as "fireMs", ${ms('create_time')} as "createMs"
      from runs where kind = 'SLOT' and project = $1`,
      [project],
    );
    const writeOffs = await client.query<FoundWriteOff>(
      `select s.project, s.domain, s.schedule_id as schedule, ${ms('l.nominal_time')} as "nominalMs",
        ${ms('l.last_nominal_time')} as "lastNominalMs", l.slots::float8 as slots, l.outcome, l.reason
      from slot_ledger l join schedules s on s.id = l.schedule where l.outcome <> 'FIRED' and s.project = $1`,
      [project],
    );
    await client.query('commit');
    return { runs: runs.rows, writeOffs: writeOffs.rows };
  } finally {
    client.release();
  }
}

/** A slot of the watermark's stretch: its schedule has settled all that was due in (from, through]. */
export interface Settled {
  readonly domain: string;
  readonly schedule: string;
  readonly fromMs: number;
  readonly throughMs: number;
}

/**
 * Reads how far each schedule of a project says that it is settled: from the beginning of its open span, as far as the furthest frontier
 * that knows of that span.
 */
export async function findWatermarks(pool: pg.Pool, project: string): Promise<Settled[]> {
  const { rows } = await pool.query<Settled>(
    `select s.domain, s.schedule_id as schedule, ${ms('p.from_time')} as "fromMs",
      ${ms('coalesce(l.due_through, f.due_through)')} as "throughMs"
    from schedules s
    join schedule_spans p on p.schedule = s.id and p.state = 'ACTIVE' and p.to_time is null
    join lateral (
      select max(due_through) as due_through from (
        select due_through, feed_snapshot from scheduler_frontiers where unit = s.hash_slot
        union all
        select due_through, feed_snapshot from scheduler_named_frontiers
        where (strategy, name) in (('project', s.project), ('domain', s.domain))
      ) frontier
      where pg_visible_in_snapshot(p.xid, feed_snapshot)
    ) f on f.due_through is not null
    left join scheduler_laggards l on l.schedule = s.id
    where s.project = $1 and s.delete_time is null`,
    [project],
  );
  return rows;
}

/** A stretch of time in which the database says that a schedule was active. */
export interface FoundStretch {
  readonly domain: string;
  readonly schedule: string;
  readonly from: Change;
  /** Undefined: it is active still. */
  readonly to: Change | undefined;
}

/** Reads when each schedule of a project was active, in order. */
export async function findStretches(pool: pg.Pool, project: string): Promise<FoundStretch[]> {
  const { rows } = await pool.query<{
    domain: string;
    schedule: string;
    fromMs: number;
    toMs: number | null;
  }>(
    `select s.domain, s.schedule_id as schedule, ${ms('p.from_time')} as "fromMs", ${ms('p.to_time')} as "toMs"
    from schedules s join schedule_spans p on p.schedule = s.id
    where s.project = $1 and p.state = 'ACTIVE' order by s.schedule_id, p.span`,
    [project],
  );
  return rows.map(({ fromMs, toMs, ...named }) => ({
    ...named,
    from: { requestedMs: fromMs, acknowledgedMs: fromMs },
    to: toMs === null ? undefined : { requestedMs: toMs, acknowledgedMs: toMs },
  }));
}

function ms(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::float8`;
}
