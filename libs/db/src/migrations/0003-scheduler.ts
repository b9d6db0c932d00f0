import { type Kysely, sql } from 'kysely';

/** What schedulers write: leases and terms, frontiers and laggards, the slot ledger, quarantines. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table scheduler_leases (
      shard text primary key,
      -- Who holds it; null after a release. The expiry stays, and a grant never lowers it.
      owner text,
      -- Rises with each grant: the fencing token.
      epoch bigint not null check (epoch > 0),
      expire_time timestamptz not null
    )
  `.execute(db);

  await sql`
    create table scheduler_terms (
      shard text not null,
      epoch bigint not null,
      owner text not null,
      -- From here on what falls due is live.
      ready_time timestamptz not null,
      -- The release, or the expiry as the last renewal left it.
      end_time timestamptz not null,
      primary key (shard, epoch)
    )
  `.execute(db);

  await sql`
    create table scheduler_frontiers (
      -- A unit of ownership: a hash slot.
      unit smallint primary key check (unit between 0 and 1023),
      -- Every slot due up to here is settled, but for schedules with a row in scheduler_laggards.
      due_through timestamptz not null,
      -- The snapshot of the feed read it rests on.
      feed_snapshot pg_snapshot not null,
      epoch bigint not null,
      -- The version of what these rows mean. A reader refuses a newer one.
      format smallint not null
    )
  `.execute(db);

  await sql`
    create table scheduler_laggards (
      schedule bigint primary key,
      unit smallint not null,
      -- Every slot of the schedule due up to here is settled,
      due_through timestamptz not null,
      -- and so is what is due in these ranges above.
      settled_above tstzmultirange not null default '{}',
      epoch bigint not null,
      format smallint not null
    )
  `.execute(db);
  await sql`create index scheduler_laggards_unit on scheduler_laggards (unit)`.execute(db);

  await sql`
    create table slot_ledger (
      -- The UTC day of nominal_time: the partition key.
      day date not null,
      schedule bigint not null,
      revision integer not null,
      -- The first and the last nominal time that the row speaks of, and how many slots that is.
      nominal_time timestamptz not null,
      last_nominal_time timestamptz not null,
      slots bigint not null check (slots > 0),
      outcome text not null check (outcome in ('FIRED', 'SKIPPED', 'MISSED', 'DEAD')),
      reason text not null,
      -- For people: what the last answer said.
      message text not null default '',
      run_id text not null default '',
      fire_time timestamptz,
      lateness_ms integer,
      epoch bigint not null,
      record_time timestamptz not null default clock_timestamp(),
      primary key (day, schedule, nominal_time, outcome)
    ) partition by range (day)
  `.execute(db);
  await sql`create table slot_ledger_default partition of slot_ledger default`.execute(db);
  await sql`create index slot_ledger_schedule on slot_ledger (schedule, nominal_time desc)`.execute(db);

  await sql`
    create table schedule_quarantines (
      schedule bigint primary key,
      generation bigint not null,
      reason text not null,
      since timestamptz not null default clock_timestamp()
    )
  `.execute(db);
}
