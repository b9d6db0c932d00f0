import type { RunPhase } from '@carillon/core/run-state.ts';
import type { OverlapPolicy } from '@carillon/core/schedule-spec.ts';
import { type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { ConcurrencyKeysTable } from './concurrency-keys.ts';
import type { KeyedRunsTable } from './keyed-runs.ts';
import type { ReadyRunsTable } from './ready-runs.ts';
import type { RunLeasesTable } from './run-leases.ts';
import type { RunNamesTable } from './run-names.ts';
import type { WorkersTable } from './workers.ts';

/** Told after the commit of every change of a run: read the feed. Without a payload. */
export const RUNS_CHANGED_CHANNEL = 'carillon_runs_changed';

/** Why a run exists. */
export type RunKind = 'AD_HOC' | 'SLOT' | 'BACKFILL' | 'TRIGGER';

/** What a run's overlap policy decided. */
export type RunOutcome = 'STARTED' | 'BUFFERED' | 'SKIPPED';

/** Runs, partitioned by `day`. The runs service is the only writer of this and of the other tables. */
export interface RunsTable {
  project: string;
  domain: string;
  run_id: string;
  day: string;
  kind: RunKind;
  schedule_id: string;
  schedule_uid: string;
  schedule_revision: number;
  nominal_time: Date;
  fire_time: Date;
  task: string;
  queue: string;
  labels: Readonly<Record<string, string>>;
  inputs: Buffer | null;
  output: Buffer | null;
  max_attempts: number;
  initial_backoff_ms: number;
  max_backoff_ms: number;
  attempt_timeout_ms: number;
  concurrency_key: string | null;
  concurrency_limit: number;
  concurrency_policy: OverlapPolicy;
  digest: Buffer;
  phase: RunPhase;
  outcome: RunOutcome;
  attempt: number;
  create_time: Date;
  available_time: Date;
  start_time: Date | null;
  end_time: Date | null;
  worker: string;
  lease_token: string | null;
  abort_request_time: Date | null;
  abort_reason: string;
  error_code: string;
  error_message: string;
  version: bigint;
  xid: bigint;
}

/** The tables of the runs service. */
export interface RunTables {
  runs: RunsTable;
  run_names: RunNamesTable;
  ready_runs: ReadyRunsTable;
  run_leases: RunLeasesTable;
  concurrency_keys: ConcurrencyKeysTable;
  keyed_runs: KeyedRunsTable;
  workers: WorkersTable;
}

/** A pool's view of {@link RunTables}, or a transaction. */
export type RunDb = Kysely<RunTables>;

/** Where a run's row is. */
export interface RunKey {
  readonly project: string;
  readonly domain: string;
  readonly run_id: string;
  /** The UTC day of its nominal time, as in `2026-11-01`. */
  readonly day: string;
}

/** A run without inputs and output; times in microseconds since the epoch. */
export interface RunRow extends RunKey {
  readonly kind: RunKind;
  readonly schedule_id: string;
  readonly schedule_uid: string;
  readonly schedule_revision: number;
  readonly nominal_micros: number;
  readonly fire_micros: number;
  readonly task: string;
  readonly queue: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly max_attempts: number;
  readonly initial_backoff_ms: number;
  readonly max_backoff_ms: number;
  readonly attempt_timeout_ms: number;
  readonly concurrency_key: string | null;
  readonly concurrency_limit: number;
  readonly concurrency_policy: OverlapPolicy;
  readonly digest: Buffer;
  readonly phase: RunPhase;
  readonly outcome: RunOutcome;
  readonly attempt: number;
  readonly create_micros: number;
  readonly available_micros: number;
  readonly start_micros: number | null;
  readonly end_micros: number | null;
  readonly worker: string;
  readonly lease_token: string | null;
  readonly abort_request_micros: number | null;
  readonly abort_reason: string;
  readonly error_code: string;
  readonly error_message: string;
  readonly version: bigint;
}

/** A run with the bytes of its inputs and output, as RunPayloads; null for nothing. */
export interface FullRunRow extends RunRow {
  readonly inputs: Buffer | null;
  readonly output: Buffer | null;
}

/** The columns of {@link RunRow}, for select lists and returning clauses. `table` is the name or alias of runs there. */
export function runColumns(table: string): RawBuilder<RunRow> {
  return sql.raw(
    [
      ...PLAIN_COLUMNS.map((column) => `${table}.${column}`),
      `${table}.day::text as day`,
      ...TIME_COLUMNS.map(
        (column) =>
          `(extract(epoch from ${table}.${column}) * 1000000)::float8 as ${column.replace('_time', '_micros')}`,
      ),
    ].join(', '),
  );
}

const PLAIN_COLUMNS = [
  'project',
  'domain',
  'run_id',
  'kind',
  'schedule_id',
  'schedule_uid',
  'schedule_revision',
  'task',
  'queue',
  'labels',
  'max_attempts',
  'initial_backoff_ms',
  'max_backoff_ms',
  'attempt_timeout_ms',
  'concurrency_key',
  'concurrency_limit',
  'concurrency_policy',
  'digest',
  'phase',
  'outcome',
  'attempt',
  'worker',
  'lease_token',
  'abort_reason',
  'error_code',
  'error_message',
  'version',
] as const;

const TIME_COLUMNS = [
  'nominal_time',
  'fire_time',
  'create_time',
  'available_time',
  'start_time',
  'end_time',
  'abort_request_time',
] as const;

/** The columns of the keys, as arrays for `unnest($::text[], $::text[], $::text[], $::date[])`. */
export function keyArrays(keys: readonly RunKey[]): RawBuilder<unknown> {
  const column = (name: keyof RunKey) => keys.map((key) => key[name]);
  return sql`unnest(
    ${column('project')}::text[], ${column('domain')}::text[], ${column('run_id')}::text[], ${column('day')}::date[]
  )`;
}

/**
 * A condition that lets the planner leave all other partitions out. It needs constants: a join with the days of
 * {@link keyArrays} alone would plan, and lock, every partition there is.
 */
export function onDaysOf(table: string, keys: readonly RunKey[]): RawBuilder<SqlBool> {
  const days = [...new Set(keys.map(({ day }) => day))];
  return sql<SqlBool>`${sql.ref(`${table}.day`)} = any(${days}::date[])`;
}

/** The runs at these keys that exist, in no particular order. */
export async function selectRuns(db: RunDb, keys: readonly RunKey[]): Promise<RunRow[]> {
  if (keys.length === 0) return [];
  const { rows } = await sql<RunRow>`
    select ${runColumns('runs')}
    from ${keyArrays(keys)} as wanted (project, domain, run_id, day)
    join runs using (project, domain, run_id, day)
    where ${onDaysOf('runs', keys)}
  `.execute(db);
  return rows;
}

/** A run's name, without the day. */
export type RunNameRow = Omit<RunKey, 'day'>;

/** The runs of these names on whatever day, the newest day first: for callers that do not know it. It looks into every partition. */
export async function selectRunsByName(db: RunDb, names: readonly RunNameRow[]): Promise<RunRow[]> {
  if (names.length === 0) return [];
  const { rows } = await sql<RunRow>`
    select ${runColumns('runs')}
    from unnest(
      ${names.map(({ project }) => project)}::text[],
      ${names.map(({ domain }) => domain)}::text[],
      ${names.map(({ run_id }) => run_id)}::text[]
    ) as wanted (project, domain, run_id)
    join runs using (project, domain, run_id)
    order by runs.day desc
  `.execute(db);
  return rows;
}

/** A run with inputs and output; on `day`, or without it on the newest day that has one. */
export async function selectFullRun(
  db: RunDb,
  { project, domain, run_id }: RunNameRow,
  day?: string,
): Promise<FullRunRow | undefined> {
  const { rows } = await sql<FullRunRow>`
    select ${runColumns('runs')}, inputs, output
    from runs
    where project = ${project} and domain = ${domain} and run_id = ${run_id}
      ${day === undefined ? sql`` : sql`and day = ${day}::date`}
    order by day desc
    limit 1
  `.execute(db);
  return rows[0];
}

/** A run to be created. */
export interface NewRun extends RunKey {
  readonly kind: RunKind;
  readonly schedule_id: string;
  readonly schedule_uid: string;
  readonly schedule_revision: number;
  readonly nominal_micros: number;
  readonly fire_micros: number;
  /** Its creation is refused after this instant, in microseconds; null for no limit. */
  readonly not_after_micros: number | null;
  /** Its name was chosen by the caller of an ad-hoc run, and is taken in run_names first. */
  readonly takes_name: boolean;
  readonly task: string;
  readonly queue: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly inputs: Uint8Array | null;
  readonly max_attempts: number;
  readonly initial_backoff_ms: number;
  readonly max_backoff_ms: number;
  readonly attempt_timeout_ms: number;
  readonly concurrency_key: string | null;
  readonly concurrency_limit: number;
  readonly concurrency_policy: OverlapPolicy;
  readonly digest: Uint8Array;
  readonly phase: RunPhase;
  readonly outcome: RunOutcome;
}

/** What {@link insertRuns} did for one run. `create_micros` is set when, and only when, it was created. */
export interface InsertedRun {
  /** `OPEN`: it was created, or its name is taken. Otherwise it was refused, whether or not its name is taken. */
  readonly gate: 'OPEN' | 'EXPIRED' | 'BEYOND_RETENTION';
  readonly create_micros: number | null;
}

/** The SQLSTATE of an {@link insertRuns} of which a run was written after its `not_after`. Nothing was created. */
export const LATE_RUN_STATE = 'CR001';

/**
 * Creates runs together with their rows in ready_runs, in one statement; a run whose name is taken is left alone. Answers in the
 * order of `runs`, which must be that of their keys, the same everywhere, and free of duplicates: two callers that insert the
 * same names then cannot deadlock.
 *
 * `not_after` is looked at twice. Before the insert it only filters. What counts is the time after it, because an insert may
 * wait for another transaction that is writing the same name; a run that was written too late ends the statement.
 *
 * @throws an error with SQLSTATE {@link LATE_RUN_STATE}: send again what is not late by now.
 */
export async function insertRuns(
  db: RunDb,
  runs: readonly NewRun[],
  retentionDays: number,
): Promise<InsertedRun[]> {
  const all = <K extends keyof NewRun>(name: K): NewRun[K][] => runs.map((run) => run[name]);
  const { rows } = await sql<InsertedRun>`
    with wanted as materialized (
      select *,
        timestamptz 'epoch' + not_after_micros * interval '1 microsecond' as not_after,
        clock_timestamp() as now,
        case
          when day < (clock_timestamp() at time zone 'UTC')::date - ${retentionDays}::int then 'BEYOND_RETENTION'
          when timestamptz 'epoch' + not_after_micros * interval '1 microsecond' <= clock_timestamp() then 'EXPIRED'
          else 'OPEN'
        end as gate
      from unnest(
        ${all('project')}::text[], ${all('domain')}::text[], ${all('run_id')}::text[], ${all('day')}::date[],
        ${all('kind')}::text[], ${all('schedule_id')}::text[], ${all('schedule_uid')}::text[], ${all('schedule_revision')}::int[],
        ${all('nominal_micros')}::float8[], ${all('fire_micros')}::float8[], ${all('not_after_micros')}::float8[],
        ${all('takes_name')}::bool[],
        ${all('task')}::text[], ${all('queue')}::text[], ${all('labels').map((labels) => JSON.stringify(labels))}::jsonb[],
        ${all('inputs')}::bytea[],
        ${all('max_attempts')}::smallint[], ${all('initial_backoff_ms')}::int[], ${all('max_backoff_ms')}::int[],
        ${all('attempt_timeout_ms')}::int[],
        ${all('concurrency_key')}::text[], ${all('concurrency_limit')}::int[], ${all('concurrency_policy')}::text[],
        ${all('digest')}::bytea[], ${all('phase')}::text[], ${all('outcome')}::text[]
      ) with ordinality as given (
        project, domain, run_id, day, kind, schedule_id, schedule_uid, schedule_revision, nominal_micros, fire_micros,
        not_after_micros, takes_name, task, queue, labels, inputs, max_attempts, initial_backoff_ms, max_backoff_ms,
        attempt_timeout_ms, concurrency_key, concurrency_limit, concurrency_policy, digest, phase, outcome, ordinal
      )
    ),
    named as (
      insert into run_names (project, domain, run_id, day)
      select project, domain, run_id, day from wanted where gate = 'OPEN' and takes_name order by ordinal
      on conflict do nothing
      returning project, domain, run_id
    ),
    created as (
      insert into runs (
        project, domain, run_id, day, kind, schedule_id, schedule_uid, schedule_revision, nominal_time, fire_time, task, queue,
        labels, inputs, max_attempts, initial_backoff_ms, max_backoff_ms, attempt_timeout_ms, concurrency_key,
        concurrency_limit, concurrency_policy, digest, phase, outcome, create_time, available_time
      )
      select
        project, domain, run_id, day, kind, schedule_id, schedule_uid, schedule_revision,
        timestamptz 'epoch' + nominal_micros * interval '1 microsecond',
        timestamptz 'epoch' + fire_micros * interval '1 microsecond',
        task, queue, labels, inputs, max_attempts, initial_backoff_ms, max_backoff_ms, attempt_timeout_ms, concurrency_key,
        concurrency_limit, concurrency_policy, digest, phase, outcome, now, now
      from wanted
      where gate = 'OPEN'
        and (not takes_name or (project, domain, run_id) in (select project, domain, run_id from named))
      order by ordinal
      on conflict do nothing
      returning project, domain, run_id, day, queue, phase, create_time, clock_timestamp() as written_time
    ),
    queued as (
      insert into ready_runs (queue, available_time, project, domain, run_id, day)
      select queue, create_time, project, domain, run_id, day from created where phase = 'QUEUED'
    )
    select
      gate,
      (extract(epoch from created.create_time) * 1000000)::float8 as create_micros,
      case when created.written_time > wanted.not_after then refuse_late_run() end
    from wanted
    left join created using (project, domain, run_id, day)
    order by ordinal
  `.execute(db);
  return rows;
}

/** Where a run goes that was inserted as buffered. */
export interface PlacedRun extends RunKey {
  readonly phase: Extract<RunPhase, 'QUEUED' | 'SKIPPED'>;
  readonly outcome: RunOutcome;
  /** Empty unless it is skipped. */
  readonly error_code: string;
  readonly error_message: string;
}

/** Moves runs on that the same transaction has inserted as buffered: into their queues, or to their end. To others it is as if they had been created so. */
export async function placeRuns(trx: RunDb, runs: readonly PlacedRun[]): Promise<void> {
  if (runs.length === 0) return;
  const all = <K extends keyof PlacedRun>(name: K): PlacedRun[K][] => runs.map((run) => run[name]);
  await sql`
    with placed as (
      update runs set
        phase = given.phase, outcome = given.outcome, error_code = given.code, error_message = given.message,
        end_time = case when given.phase = 'SKIPPED' then create_time end
      from rows from (
        ${keyArrays(runs)}, unnest(${all('phase')}::text[]), unnest(${all('outcome')}::text[]),
        unnest(${all('error_code')}::text[]), unnest(${all('error_message')}::text[])
      ) as given (project, domain, run_id, day, phase, outcome, code, message)
      where (runs.project, runs.domain, runs.run_id, runs.day) = (given.project, given.domain, given.run_id, given.day)
        and ${onDaysOf('runs', runs)}
      returning runs.queue, runs.available_time, runs.project, runs.domain, runs.run_id, runs.day, runs.phase
    )
    insert into ready_runs (queue, available_time, project, domain, run_id, day)
    select queue, available_time, project, domain, run_id, day from placed where phase = 'QUEUED'
  `.execute(trx);
}

/**
 * Which of these runs certainly do not exist: it waits for transactions that are creating one of them. It inserts them in the
 * order of `keys`, which must be the one of {@link insertRuns}, and leaves it to the caller to roll the transaction back.
 */
export async function probeRuns(trx: RunDb, keys: readonly RunKey[]): Promise<RunKey[]> {
  const { rows } = await sql<RunKey>`
    insert into runs (
      project, domain, run_id, day, kind, schedule_id, schedule_uid, schedule_revision, nominal_time, fire_time, task, queue,
      labels, max_attempts, initial_backoff_ms, max_backoff_ms, attempt_timeout_ms, concurrency_limit, concurrency_policy,
      digest, phase, outcome, create_time, available_time
    )
    select
      project, domain, run_id, day, 'AD_HOC', '', '', 0, 'epoch', 'epoch', '', '', '{}', 1, 1, 1, 1, 0, 'ALLOW', '', 'SKIPPED',
      'SKIPPED', 'epoch', 'epoch'
    from ${keyArrays(keys)} with ordinality as wanted (project, domain, run_id, day, ordinal)
    order by ordinal
    on conflict do nothing
    returning project, domain, run_id, day::text as day
  `.execute(trx);
  return rows;
}
