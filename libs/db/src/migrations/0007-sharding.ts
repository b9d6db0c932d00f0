import { type Kysely, sql } from 'kysely';

/** Shards: which there are, under which version each was granted, and frontiers of units that have names. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Every assignment there ever was, by version; none ever changes.
  await sql`
    create table scheduler_assignments (
      version integer primary key check (version > 0),
      strategy text not null check (strategy in ('hash', 'project', 'domain')),
      -- [{ name, ids }], in order.
      shards jsonb not null,
      set_time timestamptz not null default clock_timestamp()
    )
  `.execute(db);
  // One row, which every grant of a lease locks: a new version waits for the grants in progress, and they see it afterwards.
  await sql`
    create table scheduler_assignment_in_force (
      singleton boolean primary key default true check (singleton),
      version integer not null references scheduler_assignments (version)
    )
  `.execute(db);
  // A database that schedulers have worked on has had one shard: one that shares out anything is a new version.
  await sql`
    with first as (
      insert into scheduler_assignments (version, strategy, shards)
      select 1, 'hash', '[{"name": "default", "ids": []}]'
      where exists (select from scheduler_leases)
      returning version
    )
    insert into scheduler_assignment_in_force (version) select version from first
  `.execute(db);

  await sql`
    alter table scheduler_leases
      -- Under which it was last granted.
      add column assignment_version integer not null default 1,
      -- The number of the epoch's last flush that was written: none is written after a later one.
      add column flushes bigint not null default 0
  `.execute(db);
  await sql`alter table scheduler_terms add column assignment_version integer not null default 1`.execute(db);
  await sql`create index scheduler_terms_end_time on scheduler_terms (end_time)`.execute(db);

  // As scheduler_frontiers, for the strategies by name.
  await sql`
    create table scheduler_named_frontiers (
      strategy text not null check (strategy in ('project', 'domain')),
      name text not null,
      due_through timestamptz not null,
      feed_snapshot pg_snapshot not null,
      epoch bigint not null,
      format smallint not null,
      primary key (strategy, name)
    )
  `.execute(db);

  // Whether it takes its share of the shards.
  await sql`alter table scheduler_replicas add column takes_part boolean not null default true`.execute(db);
}
