import { phasesBefore } from '@carillon/core/run-state.ts';
import { sql } from 'kysely';
import {
  type ConcurrencyKey,
  concurrencyKeyArrays,
  distinctKeys,
  lockConcurrencyKeys,
} from './concurrency-keys.ts';
import { keyArrays, onDaysOf, type RunDb, type RunKey, type RunRow, runColumns, selectRuns } from './runs.ts';

/** The runs with a concurrency key that have not ended. Rows change only under the lock of their key. */
export interface KeyedRunsTable {
  project: string;
  domain: string;
  run_id: string;
  day: string;
  key: string;
  nominal_time: Date;
  going: boolean;
  concurrency_limit: number;
}

/** A run with a concurrency key that has not ended. */
export interface KeyedRun extends RunKey, ConcurrencyKey {
  /** Microseconds since the epoch. */
  readonly nominal_micros: number;
  /** Queued or running, between two attempts too; otherwise buffered. */
  readonly going: boolean;
  /** While it is buffered: it may go when fewer than this many are going. */
  readonly concurrency_limit: number;
}

/** How much of a key is taken. */
export interface KeyLoad extends ConcurrencyKey {
  /** How many runs are going; no more than were asked for are counted. */
  readonly going: number;
  /** Whether any is buffered. */
  readonly buffered: boolean;
}

/** The load of locked keys. Of each up to `atMost` runs are counted, in an index. */
export async function readKeyLoads(
  trx: RunDb,
  keys: readonly (ConcurrencyKey & { readonly atMost: number })[],
): Promise<KeyLoad[]> {
  if (keys.length === 0) return [];
  const { rows } = await sql<KeyLoad>`
    select wanted.project, wanted.domain, wanted.key, going.count::int as going,
      exists (
        select from keyed_runs r
        where (r.project, r.domain, r.key) = (wanted.project, wanted.domain, wanted.key) and not r.going
      ) as buffered
    from rows from (${concurrencyKeyArrays(keys)}, unnest(${keys.map(({ atMost }) => atMost)}::int[]))
      as wanted (project, domain, key, at_most)
    cross join lateral (
      select count(*) from (
        select from keyed_runs r
        where (r.project, r.domain, r.key) = (wanted.project, wanted.domain, wanted.key) and r.going
        limit wanted.at_most
      ) as counted
    ) as going
  `.execute(trx);
  return rows;
}

/** All runs of locked keys, of each key the latest nominal time first. */
export async function selectKeyedRuns(trx: RunDb, keys: readonly ConcurrencyKey[]): Promise<KeyedRun[]> {
  if (keys.length === 0) return [];
  const { rows } = await sql<KeyedRun>`
    select project, domain, run_id, day::text as day, key, going, concurrency_limit,
      (extract(epoch from nominal_time) * 1000000)::float8 as nominal_micros
    from ${concurrencyKeyArrays(keys)} as wanted (project, domain, key)
    join keyed_runs using (project, domain, key)
    order by nominal_time desc, run_id desc
  `.execute(trx);
  return rows;
}

/** Notes runs that go, or wait, from now on. */
export async function insertKeyedRuns(trx: RunDb, runs: readonly KeyedRun[]): Promise<void> {
  if (runs.length === 0) return;
  const all = <K extends keyof KeyedRun>(name: K): KeyedRun[K][] => runs.map((run) => run[name]);
  await sql`
    insert into keyed_runs (project, domain, run_id, day, key, nominal_time, going, concurrency_limit)
    select project, domain, run_id, day, key, timestamptz 'epoch' + nominal_micros * interval '1 microsecond', going, concurrency_limit
    from rows from (
      ${keyArrays(runs)}, unnest(${all('key')}::text[]), unnest(${all('nominal_micros')}::float8[]),
      unnest(${all('going')}::bool[]), unnest(${all('concurrency_limit')}::int[])
    ) as given (project, domain, run_id, day, key, nominal_micros, going, concurrency_limit)
  `.execute(trx);
}

/** What is read of a key's buffer at one go. */
const ADMIT_AT_ONCE = 100;

/**
 * Forgets runs of locked keys, because they have ended, and starts what was buffered in their favour: the oldest nominal time first,
 * as many as their limits allow. Answers with the runs that are queued now.
 */
export async function releaseKeys(trx: RunDb, ended: readonly RunRow[]): Promise<RunRow[]> {
  const keyed = ended.flatMap((run) =>
    run.concurrency_key === null ? [] : [{ ...run, key: run.concurrency_key }],
  );
  if (keyed.length === 0) return [];
  await deleteKeyedRuns(trx, keyed);
  return await admitRuns(trx, keyed);
}

/** Forgets runs of locked keys. What they held back is started by {@link admitRuns}. */
export async function deleteKeyedRuns(trx: RunDb, runs: readonly RunKey[]): Promise<void> {
  if (runs.length === 0) return;
  await sql`
    delete from keyed_runs using ${keyArrays(runs)} as gone (project, domain, run_id, day)
    where (keyed_runs.project, keyed_runs.domain, keyed_runs.run_id, keyed_runs.day)
        = (gone.project, gone.domain, gone.run_id, gone.day)
  `.execute(trx);
}

/** Starts what is buffered under locked keys, as {@link releaseKeys} does. */
export async function admitRuns(trx: RunDb, keys: readonly ConcurrencyKey[]): Promise<RunRow[]> {
  const distinct = distinctKeys(keys);
  const admitted: RunRow[] = [];
  for (;;) {
    const next = await selectAdmissible(trx, distinct);
    if (next.length > 0) admitted.push(...(await startBuffered(trx, next)));
    if (next.length < ADMIT_AT_ONCE) return admitted;
  }
}

/** The first buffered runs of each key, as far as the limit of each, and of all before it, lets one more go. */
async function selectAdmissible(trx: RunDb, keys: readonly ConcurrencyKey[]): Promise<RunKey[]> {
  const { rows } = await sql<RunKey>`
    with buffers as materialized (
      select wanted.*, (
        select max(concurrency_limit) from (
          select concurrency_limit from keyed_runs r
          where (r.project, r.domain, r.key) = (wanted.project, wanted.domain, wanted.key) and not r.going
          order by r.nominal_time, r.run_id
          limit ${ADMIT_AT_ONCE}
        ) as first
      ) as at_most
      from ${concurrencyKeyArrays(keys)} as wanted (project, domain, key)
    ),
    loads as materialized (
      select buffers.*, (
        select count(*) from (
          select from keyed_runs r
          where (r.project, r.domain, r.key) = (buffers.project, buffers.domain, buffers.key) and r.going
          limit buffers.at_most
        ) as counted
      ) as going
      from buffers where at_most is not null
    )
    select project, domain, run_id, day::text as day
    from (
      select waiting.*,
        bool_and(loads.going + place - 1 < concurrency_limit)
          over (partition by waiting.project, waiting.domain, waiting.key order by place) as may_go
      from loads
      cross join lateral (
        select r.*, row_number() over (order by r.nominal_time, r.run_id) as place
        from keyed_runs r
        where (r.project, r.domain, r.key) = (loads.project, loads.domain, loads.key) and not r.going
        order by r.nominal_time, r.run_id
        limit ${ADMIT_AT_ONCE}
      ) as waiting
    ) as considered
    where may_go
  `.execute(trx);
  return rows;
}

async function startBuffered(trx: RunDb, keys: readonly RunKey[]): Promise<RunRow[]> {
  const { rows } = await sql<RunRow>`
    with admitted as (
      update keyed_runs set going = true
      from ${keyArrays(keys)} as next (project, domain, run_id, day)
      where (keyed_runs.project, keyed_runs.domain, keyed_runs.run_id, keyed_runs.day)
          = (next.project, next.domain, next.run_id, next.day)
    ),
    changed as (
      update runs set phase = 'QUEUED', available_time = clock_timestamp(), version = version + 1, xid = pg_current_xact_id()
      from ${keyArrays(keys)} as next (project, domain, run_id, day)
      where (runs.project, runs.domain, runs.run_id, runs.day) = (next.project, next.domain, next.run_id, next.day)
        and ${onDaysOf('runs', keys)}
        and phase = any(${phasesBefore('ADMIT', 'QUEUED')}::text[])
      returning ${runColumns('runs')}, available_time
    ),
    queued as (
      insert into ready_runs (queue, available_time, project, domain, run_id, day)
      select queue, available_time, project, domain, run_id, day::date from changed
    )
    select * from changed
  `.execute(trx);
  return rows;
}

/** A place in the order in which {@link selectStrayRuns} goes through all of them. */
export type KeyedRunPlace = RunKey;

/** One look at some of the rows. */
export interface StrayRead {
  /** Those whose run has ended, or is gone. */
  readonly strays: readonly KeyedRun[];
  /** Where to go on; undefined when that was the end. */
  readonly next: KeyedRunPlace | undefined;
}

/**
 * Looks for rows whose run has ended without them, or is beyond retention, in up to `limit` rows after `place`. Nothing here leaves any
 * behind, but a program of before such rows may end a run beside this one.
 */
export async function selectStrayRuns(
  db: RunDb,
  place: KeyedRunPlace | undefined,
  limit: number,
): Promise<StrayRead> {
  const { rows } = await sql<KeyedRun>`
    select project, domain, run_id, day::text as day, key, going, concurrency_limit,
      (extract(epoch from nominal_time) * 1000000)::float8 as nominal_micros
    from keyed_runs
    ${
      place === undefined
        ? sql``
        : sql`where (project, domain, run_id, day) > (${place.project}, ${place.domain}, ${place.run_id}, ${place.day}::date)`
    }
    order by project, domain, run_id, day
    limit ${limit}
  `.execute(db);
  const living = new Set(
    (await selectRuns(db, rows)).filter(({ end_micros }) => end_micros === null).map(nameAndDay),
  );
  return {
    strays: rows.filter((row) => !living.has(nameAndDay(row))),
    next: rows.length < limit ? undefined : rows.at(-1),
  };
}

/** Forgets strays, and starts what they held back. Answers with the runs that are queued now. */
export async function forgetStrayRuns(trx: RunDb, strays: readonly KeyedRun[]): Promise<RunRow[]> {
  if (strays.length === 0) return [];
  await lockConcurrencyKeys(trx, strays);
  await deleteKeyedRuns(trx, strays);
  return await admitRuns(trx, strays);
}

function nameAndDay({ project, domain, run_id, day }: RunKey): string {
  return `${project} ${domain} ${run_id} ${day}`;
}
