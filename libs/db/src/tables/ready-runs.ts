import { phasesBefore } from '@carillon/core/run-state.ts';
import { sql } from 'kysely';
import { type FullRunRow, keyArrays, onDaysOf, type RunDb, type RunKey, runColumns } from './runs.ts';

/** Told after the commit of what makes a run ready. The payload is its queue. */
export const RUNS_READY_CHANNEL = 'carillon_runs_ready';

/** Queued runs, in the order in which they are leased. Rows are made and taken away, and never change. */
export interface ReadyRunsTable {
  queue: string;
  available_time: Date;
  project: string;
  domain: string;
  run_id: string;
  day: string;
}

/** A run that was taken out of its queue. */
export interface ReadyRun extends RunKey {
  readonly queue: string;
  /** When it became ready, in microseconds since the epoch. */
  readonly available_micros: number;
}

/**
 * Takes up to `limit` ready runs out of their queues, the longest waiting first, passing over those that others are taking. They
 * are gone when the transaction commits, which therefore has to move the runs on.
 *
 * Queues are emptied one after another, the one whose head waits longest first: a single ordered scan over several would have to
 * sort their whole backlog.
 */
export async function takeReadyRuns(
  trx: RunDb,
  queues: readonly string[],
  limit: number,
): Promise<ReadyRun[]> {
  const order = queues.length === 1 ? queues : await readyQueues(trx, queues);
  const taken: ReadyRun[] = [];
  for (const queue of order) {
    if (taken.length >= limit) break;
    const { rows } = await sql<ReadyRun>`
      delete from ready_runs
      where ctid = any(array(
        select ctid from ready_runs
        where queue = ${queue} and available_time <= clock_timestamp()
        order by available_time
        limit ${limit - taken.length}
        for update skip locked
      ))
      returning queue, (extract(epoch from available_time) * 1000000)::float8 as available_micros,
        project, domain, run_id, day::text as day
    `.execute(trx);
    taken.push(...rows);
  }
  return taken.sort((a, b) => a.available_micros - b.available_micros);
}

/** Those of the queues that have a ready run, the longest waiting first. */
async function readyQueues(db: RunDb, queues: readonly string[]): Promise<string[]> {
  const { rows } = await sql<{ queue: string }>`
    select wanted.queue
    from unnest(${queues}::text[]) as wanted (queue)
    cross join lateral (
      select available_time from ready_runs
      where ready_runs.queue = wanted.queue and available_time <= clock_timestamp()
      order by available_time
      limit 1
    ) as head
    order by head.available_time
  `.execute(db);
  return rows.map(({ queue }) => queue);
}

/** Puts runs back that {@link takeReadyRuns} took in the same transaction, where they were. */
export async function putBackReadyRuns(trx: RunDb, runs: readonly ReadyRun[]): Promise<void> {
  if (runs.length === 0) return;
  await sql`
    insert into ready_runs (project, domain, run_id, day, queue, available_time)
    select project, domain, run_id, day, queue, timestamptz 'epoch' + available_micros * interval '1 microsecond'
    from rows from (
      ${keyArrays(runs)},
      unnest(${runs.map(({ queue }) => queue)}::text[]),
      unnest(${runs.map(({ available_micros }) => available_micros)}::float8[])
    ) as given (project, domain, run_id, day, queue, available_micros)
  `.execute(trx);
}

/** The bytes of each run's inputs, in the order of `keys`; 0 for a run that does not exist. */
export async function selectInputBytes(db: RunDb, keys: readonly RunKey[]): Promise<number[]> {
  const { rows } = await sql<{ bytes: number }>`
    select coalesce(octet_length(runs.inputs), 0) as bytes
    from ${keyArrays(keys)} with ordinality as wanted (project, domain, run_id, day, ordinal)
    left join runs
      on (runs.project, runs.domain, runs.run_id, runs.day) = (wanted.project, wanted.domain, wanted.run_id, wanted.day)
      and ${onDaysOf('runs', keys)}
    order by ordinal
  `.execute(db);
  return rows.map(({ bytes }) => bytes);
}

/** Milliseconds until the next run of these queues is ready, 0 or less if one is already; undefined when they are empty. */
export async function untilReadyMs(db: RunDb, queues: readonly string[]): Promise<number | undefined> {
  const { rows } = await sql<{ wait_ms: number }>`
    select (extract(epoch from head.available_time - clock_timestamp()) * 1000)::float8 as wait_ms
    from unnest(${queues}::text[]) as wanted (queue)
    cross join lateral (
      select available_time from ready_runs
      where ready_runs.queue = wanted.queue
      order by available_time
      limit 1
    ) as head
    order by head.available_time
    limit 1
  `.execute(db);
  return rows[0]?.wait_ms;
}

/** A ready run, and who shall work on it. */
export interface Assignment extends RunKey {
  /** The lease's token. */
  readonly token: string;
  readonly worker: string;
}

/** A run whose attempt has begun, with its lease. */
export interface LeasedRunRow extends FullRunRow {
  readonly lease_token: string;
  /** Both in microseconds since the epoch. */
  readonly expire_micros: number;
  readonly deadline_micros: number;
}

/** Begins an attempt of each run that {@link takeReadyRuns} took in the same transaction. In no particular order. */
export async function startAttempts(
  trx: RunDb,
  assignments: readonly Assignment[],
  leaseTtlMs: number,
): Promise<LeasedRunRow[]> {
  const { rows } = await sql<LeasedRunRow>`
    with assigned as materialized (
      select *
      from rows from (
        ${keyArrays(assignments)},
        unnest(${assignments.map(({ token }) => token)}::uuid[]),
        unnest(${assignments.map(({ worker }) => worker)}::text[])
      ) as given (project, domain, run_id, day, token, assignee)
    ),
    started as (
      update runs set
        phase = 'RUNNING', attempt = runs.attempt + 1, start_time = clock_timestamp(), worker = assignee, lease_token = token,
        version = version + 1, xid = pg_current_xact_id()
      from assigned
      where (runs.project, runs.domain, runs.run_id, runs.day)
          = (assigned.project, assigned.domain, assigned.run_id, assigned.day)
        and ${onDaysOf('runs', assignments)}
        and phase = any(${phasesBefore('LEASE', 'RUNNING')}::text[])
      returning ${runColumns('runs')}, inputs, output, start_time, start_time + ${leaseTtlMs}::float8 * interval '1 millisecond' as expire_time,
        start_time + attempt_timeout_ms * interval '1 millisecond' as attempt_deadline
    ),
    leased as (
      insert into run_leases (
        token, project, domain, run_id, day, attempt, worker, expire_time, attempt_deadline, concurrency_key
      )
      select lease_token, project, domain, run_id, day::date, attempt, worker, expire_time, attempt_deadline, concurrency_key
      from started
    )
    select started.*,
      (extract(epoch from expire_time) * 1000000)::float8 as expire_micros,
      (extract(epoch from attempt_deadline) * 1000000)::float8 as deadline_micros
    from started
  `.execute(trx);
  return rows;
}

/** How many runs of a queue are ready, and for how long the first of them has been, in seconds. */
export interface QueueDepth {
  readonly queue: string;
  readonly ready: number;
  readonly oldest_age_seconds: number;
}

/** The depth of each queue that is not empty. */
export async function readyQueueDepths(db: RunDb): Promise<QueueDepth[]> {
  const { rows } = await sql<QueueDepth>`
    select queue, count(*)::float8 as ready,
      extract(epoch from clock_timestamp() - min(available_time))::float8 as oldest_age_seconds
    from ready_runs
    where available_time <= clock_timestamp()
    group by queue
  `.execute(db);
  return rows;
}
