import { phasesBefore, type RunPhase } from '@carillon/core/run-state.ts';
import { type SqlBool, sql } from 'kysely';
import { keyArrays, onDaysOf, type RunDb, type RunKey, type RunRow, runColumns } from './runs.ts';

/** The leases of running runs. Such a row is the lock of its run: every transition takes it first. */
export interface RunLeasesTable {
  token: string;
  project: string;
  domain: string;
  run_id: string;
  day: string;
  attempt: number;
  worker: string;
  expire_time: Date;
  attempt_deadline: Date;
  abort_requested: boolean;
  concurrency_key: string | null;
}

/**
 * Whether leases of runs with a concurrency key are meant, or those of runs without. With a key its lock is needed first
 * (`lockKeysOfLeases`), and what a run with a key held back is to be started after its end (`releaseKeys`).
 */
export type LeaseKind = 'KEYED' | 'PLAIN';

const isOfKind = (kind: LeaseKind) =>
  sql<SqlBool>`(run_leases.concurrency_key is not null) = ${kind === 'KEYED'}`;

/** A lease as its holder names it. */
export interface HeldLease extends RunKey {
  readonly token: string;
}

/** A lease after a heartbeat. */
export interface ExtendedLease extends HeldLease {
  /** Its new end, in microseconds since the epoch. */
  readonly expire_micros: number;
  readonly abort_requested: boolean;
}

/** Leases, locked. Several statements lock several at once; the order of tokens is that of all of them. */
export const heldLeases = (leases: readonly HeldLease[], kind?: LeaseKind) => sql`
  select run_leases.*
  from run_leases
  join rows from (${keyArrays(leases)}, unnest(${leases.map(({ token }) => token)}::uuid[]))
    as held (project, domain, run_id, day, token) using (project, domain, run_id, day, token)
  ${kind === undefined ? sql`` : sql`where ${isOfKind(kind)}`}
  order by run_leases.token
  for update of run_leases
`;

/** Extends leases by the database's clock. Those that are missing from the answer are lost. */
export async function extendLeases(
  db: RunDb,
  leases: readonly HeldLease[],
  leaseTtlMs: number,
): Promise<ExtendedLease[]> {
  if (leases.length === 0) return [];
  const { rows } = await sql<ExtendedLease>`
    with locked as materialized (${heldLeases(leases)})
    update run_leases
    set expire_time = greatest(
      run_leases.expire_time, clock_timestamp() + ${leaseTtlMs}::float8 * interval '1 millisecond'
    )
    from locked
    where run_leases.token = locked.token
    returning run_leases.project, run_leases.domain, run_leases.run_id, run_leases.day::text as day,
      run_leases.token, run_leases.abort_requested,
      (extract(epoch from run_leases.expire_time) * 1000000)::float8 as expire_micros
  `.execute(db);
  return rows;
}

/** A run that its worker has completed. */
export interface Completion extends HeldLease {
  /** A RunPayload; null for nothing. */
  readonly output: Uint8Array | null;
}

/**
 * Ends runs of one kind with success; each may be in `completions` once. Those that are missing from the answer are of the other
 * kind, or no longer held by this lease.
 */
export async function completeRuns(
  db: RunDb,
  completions: readonly Completion[],
  kind: LeaseKind,
): Promise<RunRow[]> {
  const { rows } = await sql<RunRow>`
    with locked as materialized (${heldLeases(completions, kind)}),
    released as (
      delete from run_leases using locked where run_leases.token = locked.token
    ),
    completed as materialized (
      select locked.*, given.result
      from locked
      join rows from (
        ${keyArrays(completions)},
        unnest(${completions.map(({ token }) => token)}::uuid[]),
        unnest(${completions.map(({ output }) => output)}::bytea[])
      ) as given (project, domain, run_id, day, token, result) using (project, domain, run_id, day, token)
    )
    update runs set
      phase = 'SUCCEEDED', end_time = clock_timestamp(), output = result, error_code = '', error_message = '',
      abort_request_time = null, version = version + 1, xid = pg_current_xact_id()
    from completed
    where (runs.project, runs.domain, runs.run_id, runs.day)
        = (completed.project, completed.domain, completed.run_id, completed.day)
      and ${onDaysOf('runs', completions)}
      and phase = any(${phasesBefore('COMPLETE', 'SUCCEEDED')}::text[])
    returning ${runColumns('runs')}
  `.execute(db);
  return rows;
}

/** A lease that is locked until the end of the transaction. */
export interface LockedLease extends HeldLease {
  readonly worker: string;
  readonly abort_requested: boolean;
  /** The attempt has exceeded its time. */
  readonly overdue: boolean;
}

/** Locks leases, of one kind or of both. Those that are missing from the answer are of the other kind, or lost. */
export async function lockLeases(
  trx: RunDb,
  leases: readonly HeldLease[],
  kind?: LeaseKind,
): Promise<LockedLease[]> {
  const { rows } = await sql<LockedLease>`
    with locked as materialized (${heldLeases(leases, kind)})
    select project, domain, run_id, day::text as day, token, worker, abort_requested,
      attempt_deadline <= clock_timestamp() as overdue
    from locked
  `.execute(trx);
  return rows;
}

/** Which leases have lapsed. */
export interface LapsedLeases {
  readonly kind: LeaseKind;
  /** Whether those count that have run out; an attempt that has exceeded its time always does. */
  readonly expired: boolean;
  /** The most to look for. */
  readonly limit: number;
}

/** The tokens of lapsed leases, in no particular order. */
export async function selectLapsedTokens(db: RunDb, lapsed: LapsedLeases): Promise<string[]> {
  const { rows } = await sql<{ token: string }>`
    select token from run_leases where ${hasLapsed(lapsed)} limit ${lapsed.limit}
  `.execute(db);
  return rows.map(({ token }) => token);
}

const hasLapsed = ({ kind, expired }: LapsedLeases) => sql<SqlBool>`
  ${isOfKind(kind)} and (attempt_deadline <= clock_timestamp() or (${expired} and expire_time <= clock_timestamp()))
`;

/**
 * Locks lapsed leases; with `tokens`, only those of these. Leases that others hold locked are passed over: whoever does is about to
 * change them.
 */
export async function lockLapsedLeases(
  trx: RunDb,
  lapsed: LapsedLeases,
  tokens?: readonly string[],
): Promise<LockedLease[]> {
  const { rows } = await sql<LockedLease>`
    select project, domain, run_id, day::text as day, token, worker, abort_requested,
      attempt_deadline <= clock_timestamp() as overdue
    from run_leases
    where ${hasLapsed(lapsed)} ${tokens === undefined ? sql`` : sql`and token = any(${tokens}::uuid[])`}
    order by token
    limit ${lapsed.limit}
    for update skip locked
  `.execute(trx);
  return rows;
}

/** What becomes of a run whose attempt has ended without success. */
export interface AttemptOutcome extends HeldLease {
  /** `QUEUED` for another attempt. */
  readonly phase: Extract<RunPhase, 'QUEUED' | 'FAILED' | 'ABORTED' | 'TIMED_OUT'>;
  /** How long the next attempt waits; 0 when there is none. */
  readonly delay_ms: number;
  readonly error_code: string;
  readonly error_message: string;
  /** A RunPayload; null for nothing. */
  readonly output: Uint8Array | null;
  /** The worker itself ended it, so a repetition of its call with this token is to be recognised. */
  readonly answered: boolean;
}

/** Ends attempts whose leases the transaction has locked. Answers with the runs, in no particular order. */
export async function endAttempts(trx: RunDb, outcomes: readonly AttemptOutcome[]): Promise<RunRow[]> {
  const all = <K extends keyof AttemptOutcome>(name: K): AttemptOutcome[K][] =>
    outcomes.map((outcome) => outcome[name]);
  const { rows } = await sql<RunRow>`
    with ended as materialized (
      select *
      from rows from (
        ${keyArrays(outcomes)}, unnest(${all('token')}::uuid[]), unnest(${all('phase')}::text[]),
        unnest(${all('delay_ms')}::float8[]), unnest(${all('error_code')}::text[]), unnest(${all('error_message')}::text[]),
        unnest(${all('output')}::bytea[]), unnest(${all('answered')}::bool[])
      ) as given (project, domain, run_id, day, token, next_phase, delay_ms, code, message, result, answered)
    ),
    released as (
      delete from run_leases using ended where run_leases.token = ended.token
    ),
    changed as (
      update runs set
        phase = next_phase,
        end_time = case when next_phase <> 'QUEUED' then clock_timestamp() end,
        available_time = case
          when next_phase = 'QUEUED' then clock_timestamp() + delay_ms * interval '1 millisecond' else available_time
        end,
        lease_token = case when answered then lease_token end,
        output = result, error_code = code, error_message = message,
        abort_request_time = null, version = version + 1, xid = pg_current_xact_id()
      from ended
      where (runs.project, runs.domain, runs.run_id, runs.day) = (ended.project, ended.domain, ended.run_id, ended.day)
        and ${onDaysOf('runs', outcomes)}
        -- All of these phases are reached from the same one.
        and phase = any(${phasesBefore('RETRY', 'QUEUED')}::text[])
      returning ${runColumns('runs')}, available_time
    ),
    queued as (
      insert into ready_runs (queue, available_time, project, domain, run_id, day)
      select queue, available_time, project, domain, run_id, day::date from changed where phase = 'QUEUED'
    )
    select * from changed
  `.execute(trx);
  return rows;
}

/** Deletes leases that the transaction has locked, and leaves their runs alone. */
export async function dropLeases(trx: RunDb, tokens: readonly string[]): Promise<void> {
  await sql`delete from run_leases where token = any(${tokens}::uuid[])`.execute(trx);
}

/**
 * Puts runs back into their queues, where they were, as if they had never been leased. Not those that shall be aborted: their
 * leases run out, and that aborts them.
 */
export async function handBackRuns(db: RunDb, leases: readonly HeldLease[]): Promise<void> {
  if (leases.length === 0) return;
  await sql`
    with locked as materialized (${heldLeases(leases)}),
    released as (
      delete from run_leases using locked
      where run_leases.token = locked.token and not locked.abort_requested
      returning locked.project, locked.domain, locked.run_id, locked.day
    ),
    changed as (
      update runs set
        phase = 'QUEUED', attempt = runs.attempt - 1, start_time = null, worker = '', lease_token = null,
        version = version + 1, xid = pg_current_xact_id()
      from released
      where (runs.project, runs.domain, runs.run_id, runs.day)
          = (released.project, released.domain, released.run_id, released.day)
        and ${onDaysOf('runs', leases)}
        and phase = any(${phasesBefore('HAND_BACK', 'QUEUED')}::text[])
      returning runs.queue, runs.available_time, runs.project, runs.domain, runs.run_id, runs.day
    )
    insert into ready_runs (queue, available_time, project, domain, run_id, day)
    select queue, available_time, project, domain, run_id, day from changed
  `.execute(db);
}
