import { phasesBefore } from '@carillon/core/run-state.ts';
import { sql } from 'kysely';
import { heldLeases } from './run-leases.ts';
import { keyArrays, onDaysOf, type RunDb, type RunRow, runColumns } from './runs.ts';

/** A run to be stopped, as it was read, and why. */
export interface AbortedRun {
  readonly run: RunRow;
  readonly reason: string;
}

/**
 * Ends runs that no worker has, as aborted. Answers with those that it ended; the others are in another phase, or queue place, than they
 * were read in: read them again. One with a concurrency key needs the lock of that.
 */
export async function abortWaitingRuns(trx: RunDb, aborts: readonly AbortedRun[]): Promise<RunRow[]> {
  if (aborts.length === 0) return [];
  const runs = aborts.map(({ run }) => run);
  const { rows } = await sql<RunRow>`
    with given as materialized (
      select *, timestamptz 'epoch' + available_micros * interval '1 microsecond' as available
      from rows from (
        ${keyArrays(runs)}, unnest(${runs.map(({ phase }) => phase)}::text[]), unnest(${runs.map(({ queue }) => queue)}::text[]),
        unnest(${runs.map(({ available_micros }) => available_micros)}::float8[]),
        unnest(${aborts.map(({ reason }) => reason)}::text[])
      ) as given (project, domain, run_id, day, seen_phase, queue, available_micros, reason)
    ),
    taken as (
      delete from ready_runs using given
      where seen_phase = 'QUEUED'
        and (ready_runs.queue, ready_runs.available_time, ready_runs.project, ready_runs.domain, ready_runs.run_id, ready_runs.day)
          = (given.queue, given.available, given.project, given.domain, given.run_id, given.day)
      returning given.project, given.domain, given.run_id, given.day
    )
    update runs set
      phase = 'ABORTED', end_time = clock_timestamp(), abort_reason = reason,
      error_code = 'ABORTED', error_message = reason, version = version + 1, xid = pg_current_xact_id()
    from given
    where (runs.project, runs.domain, runs.run_id, runs.day) = (given.project, given.domain, given.run_id, given.day)
      and ${onDaysOf('runs', runs)}
      and phase = seen_phase and phase = any(${phasesBefore('REQUEST_ABORT', 'ABORTED')}::text[])
      and (
        seen_phase <> 'QUEUED'
        or (given.project, given.domain, given.run_id, given.day) in (select project, domain, run_id, day from taken)
      )
    returning ${runColumns('runs')}
  `.execute(trx);
  return rows;
}

/**
 * Notes that running runs shall stop; their workers are told at their next heartbeats. Answers with those that it noted; the others have lost
 * the leases that they were read with: read them again.
 */
export async function requestAborts(trx: RunDb, aborts: readonly AbortedRun[]): Promise<RunRow[]> {
  const held = aborts.flatMap(({ run, reason }) =>
    run.lease_token === null ? [] : [{ ...run, token: run.lease_token, reason }],
  );
  if (held.length === 0) return [];
  const { rows } = await sql<RunRow>`
    with locked as materialized (${heldLeases(held)}),
    asked as (
      update run_leases set abort_requested = true from locked
      where run_leases.token = locked.token
      returning run_leases.token
    ),
    given as (
      select *
      from rows from (
        ${keyArrays(held)}, unnest(${held.map(({ token }) => token)}::uuid[]), unnest(${held.map(({ reason }) => reason)}::text[])
      ) as given (project, domain, run_id, day, token, reason)
      where token in (select token from asked)
    )
    update runs set
      abort_request_time = clock_timestamp(), abort_reason = reason, version = version + 1, xid = pg_current_xact_id()
    from given
    where (runs.project, runs.domain, runs.run_id, runs.day) = (given.project, given.domain, given.run_id, given.day)
      and ${onDaysOf('runs', held)}
      and phase = any(${phasesBefore('REQUEST_ABORT', 'RUNNING')}::text[])
    returning ${runColumns('runs')}
  `.execute(trx);
  return rows;
}
