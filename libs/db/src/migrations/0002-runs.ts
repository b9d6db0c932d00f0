import { type Kysely, sql } from 'kysely';

/** Runs, and what moves them: their names, the queue of those that are ready, leases, workers. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table runs (
      project text not null,
      domain text not null,
      run_id text not null,
      -- The UTC day of nominal_time: the partition key.
      day date not null,
      kind text not null check (kind in ('AD_HOC', 'SLOT', 'BACKFILL', 'TRIGGER')),
      -- The last segment of the schedule's name, in the run's own project and domain; empty for an ad-hoc run.
      schedule_id text not null,
      schedule_uid text not null,
      schedule_revision integer not null,
      nominal_time timestamptz not null,
      fire_time timestamptz not null,
      task text not null,
      queue text not null,
      labels jsonb not null,
      -- RunPayloads in the protobuf binary form; null for nothing.
      inputs bytea,
      output bytea,
      max_attempts smallint not null check (max_attempts > 0),
      initial_backoff_ms integer not null check (initial_backoff_ms > 0),
      max_backoff_ms integer not null check (max_backoff_ms > 0),
      attempt_timeout_ms integer not null check (attempt_timeout_ms > 0),
      -- Null when none was asked for.
      concurrency_key text,
      concurrency_limit integer not null,
      concurrency_policy text not null,
      -- SHA-256 of what was asked for: see run-digest.ts of services/runs.
      digest bytea not null,
      phase text not null
        check (phase in ('BUFFERED', 'QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'ABORTED', 'TIMED_OUT', 'SKIPPED')),
      outcome text not null check (outcome in ('STARTED', 'BUFFERED', 'SKIPPED')),
      attempt smallint not null default 0 check (attempt between 0 and max_attempts),
      create_time timestamptz not null,
      -- While it is queued: when it may be leased; with the queue and its name the key of its row in ready_runs.
      available_time timestamptz not null,
      start_time timestamptz,
      end_time timestamptz,
      worker text not null default '',
      -- The token of the current or last lease.
      lease_token uuid,
      abort_request_time timestamptz,
      abort_reason text not null default '',
      -- Empty, or why the last attempt failed, or the run was aborted or skipped.
      error_code text not null default '',
      error_message text not null default '',
      version bigint not null default 1 check (version > 0),
      -- The transaction of the last write: what the feed's cursor is made of.
      xid xid8 not null default pg_current_xact_id(),
      primary key (project, domain, run_id, day)
    ) partition by range (day)
  `.execute(db);
  await sql`create table runs_default partition of runs default`.execute(db);
  await sql`create index runs_xid on runs (xid)`.execute(db);
  await sql`create index runs_nominal_time on runs (nominal_time)`.execute(db);
  await sql`create index runs_create_time on runs (create_time)`.execute(db);
  await sql`create index runs_schedule on runs (project, domain, schedule_id, nominal_time)`.execute(db);

  await sql`
    create table run_names (
      project text not null,
      domain text not null,
      -- Chosen by the caller of an ad-hoc run. Within the partitions of runs a name is unique per day only.
      run_id text not null,
      day date not null,
      primary key (project, domain, run_id)
    )
  `.execute(db);
  await sql`create index run_names_day on run_names (day)`.execute(db);

  // A queued run has one row here, a running one has one in run_leases, any other has neither. Every transition takes that
  // row first and the run's second: it is the run's lock, and all of them take locks in one order.
  await sql`
    create table ready_runs (
      queue text not null,
      available_time timestamptz not null,
      project text not null,
      domain text not null,
      run_id text not null,
      day date not null,
      primary key (queue, available_time, project, domain, run_id, day)
    ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)
  `.execute(db);

  // Narrow, and without an index on its times: a heartbeat then rewrites a few bytes in place.
  await sql`
    create table run_leases (
      token uuid primary key,
      project text not null,
      domain text not null,
      run_id text not null,
      day date not null,
      attempt smallint not null,
      worker text not null,
      expire_time timestamptz not null,
      attempt_deadline timestamptz not null,
      abort_requested boolean not null default false
    ) with (
      fillfactor = 50,
      autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
    )
  `.execute(db);

  await sql`
    create table workers (
      worker text primary key,
      queues text[] not null,
      slots integer not null check (slots > 0),
      version text not null,
      register_time timestamptz not null default clock_timestamp(),
      seen_time timestamptz not null default clock_timestamp()
    )
  `.execute(db);

  // Called for a run that was written after its not_after: ends the statement, so that the run is not created.
  await sql`
    create function refuse_late_run() returns boolean language plpgsql as $$
    begin
      raise exception 'written after its not_after' using errcode = 'CR001';
    end $$
  `.execute(db);
}
