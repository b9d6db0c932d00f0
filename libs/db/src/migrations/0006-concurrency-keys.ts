import { type Kysely, sql } from 'kysely';

/** Runs that share a concurrency key. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // A lock with a name. Rows whose key nobody uses any more are swept away.
  await sql`
    create table concurrency_keys (
      project text not null,
      domain text not null,
      key text not null,
      primary key (project, domain, key)
    ) with (fillfactor = 50)
  `.execute(db);

  // A run with a key has one row here from its creation to its end, and its key is locked whenever such a row changes.
  await sql`
    create table keyed_runs (
      project text not null,
      domain text not null,
      run_id text not null,
      day date not null,
      key text not null,
      nominal_time timestamptz not null,
      -- Queued or running, between two attempts too; otherwise buffered.
      going boolean not null,
      -- While it is buffered: it may go when fewer than this many are going.
      concurrency_limit integer not null check (concurrency_limit >= 0),
      primary key (project, domain, run_id, day)
    ) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)
  `.execute(db);
  await sql`
    create index keyed_runs_key on keyed_runs (project, domain, key, going, nominal_time, run_id)
  `.execute(db);

  // Only unlimited ones under ALLOW were accepted so far, so none is buffered.
  await sql`
    insert into keyed_runs (project, domain, run_id, day, key, nominal_time, going, concurrency_limit)
    select project, domain, run_id, day, concurrency_key, nominal_time, true, concurrency_limit
    from runs
    where concurrency_key is not null and phase in ('QUEUED', 'RUNNING')
  `.execute(db);

  // Of its run: by it the end of an attempt knows, without reading the run, that it needs the lock of a key.
  await sql`alter table run_leases add column concurrency_key text`.execute(db);
  await sql`
    update run_leases set concurrency_key = runs.concurrency_key
    from runs
    where (runs.project, runs.domain, runs.run_id, runs.day)
        = (run_leases.project, run_leases.domain, run_leases.run_id, run_leases.day)
      and runs.concurrency_key is not null
  `.execute(db);
}
