import { type Kysely, sql } from 'kysely';

/** Schedules, their immutable revisions and their append-only spans. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table schedules (
      id bigint generated always as identity primary key,
      uid uuid not null unique,
      -- ASCII labels: with one order everywhere, whatever the database's locale, so that pages are stable.
      project text collate "C" not null,
      domain text collate "C" not null,
      schedule_id text collate "C" not null,
      description text not null default '',
      labels jsonb not null default '{}',
      -- Counts every write; the etag, and the order in which the feed applies changes.
      generation bigint not null check (generation > 0),
      -- The newest revision's number.
      revision integer not null check (revision > 0),
      -- The first activation, in whole seconds: the anchor of a rate that has no start_time.
      anchor_time timestamptz,
      hash_slot smallint not null check (hash_slot between 0 and 1023),
      create_time timestamptz not null default clock_timestamp(),
      update_time timestamptz not null default clock_timestamp(),
      delete_time timestamptz,
      -- The transaction of the last write: what the change feed's cursor is made of.
      xid xid8 not null default pg_current_xact_id()
    )
  `.execute(db);
  await sql`create unique index schedules_name on schedules (project, domain, schedule_id) where delete_time is null`.execute(
    db,
  );
  await sql`create index schedules_past_names on schedules (project, domain, schedule_id, generation)`.execute(
    db,
  );
  await sql`create index schedules_create_time on schedules (create_time, id)`.execute(db);
  await sql`create index schedules_update_time on schedules (update_time, id)`.execute(db);
  await sql`create index schedules_xid on schedules (xid)`.execute(db);
  await sql`create index schedules_labels on schedules using gin (labels jsonb_path_ops)`.execute(db);

  await sql`
    create table schedule_revisions (
      schedule bigint not null references schedules (id),
      revision integer not null check (revision > 0),
      -- A ScheduleSpec without its run, in the protobuf binary form, so that fields a binary does not know survive it.
      -- Equal timings are equal bytes, and are interned by them.
      timing bytea not null,
      -- Its RunSpec, likewise.
      run bytea not null,
      -- For filters.
      task text collate "C" not null,
      time_zone text collate "C" not null,
      create_time timestamptz not null default clock_timestamp(),
      actor text not null,
      primary key (schedule, revision)
    )
  `.execute(db);

  await sql`
    create table schedule_spans (
      schedule bigint not null,
      -- Numbers the spans of a schedule, from 1.
      span integer not null check (span > 0),
      revision integer not null,
      state text not null check (state in ('ACTIVE', 'PAUSED')),
      from_time timestamptz not null,
      to_time timestamptz check (to_time >= from_time),
      -- What ended it. A stop (PAUSED, DEACTIVATED, DELETED) also ends older slots that were not sent.
      end_reason text check (end_reason in ('REVISED', 'PAUSED', 'UNPAUSED', 'DEACTIVATED', 'DELETED')),
      -- Who began it, and why.
      actor text not null,
      reason text not null default '',
      -- The transaction that began it: a watermark that rests on a snapshot without it does not speak of this span.
      xid xid8 not null default pg_current_xact_id(),
      primary key (schedule, span),
      foreign key (schedule, revision) references schedule_revisions (schedule, revision),
      check ((to_time is null) = (end_reason is null))
    )
  `.execute(db);
  // At most one open span, so at most one active revision.
  await sql`create unique index schedule_spans_open on schedule_spans (schedule) where to_time is null`.execute(
    db,
  );

  // The last look asks for stops after a slot; there are few of them.
  await sql`
    create index schedule_spans_stops on schedule_spans (schedule, to_time)
    where end_reason in ('PAUSED', 'DEACTIVATED', 'DELETED')
  `.execute(db);

  await sql`
    create function refuse_change() returns trigger language plpgsql as $$
    begin
      raise exception '% of % is refused: its rows never change', tg_op, tg_table_name using errcode = 'restrict_violation';
    end $$
  `.execute(db);
  await sql`
    create trigger schedule_revisions_immutable before update or delete on schedule_revisions
    for each row execute function refuse_change()
  `.execute(db);
  // A span may be ended, once; nothing else of it ever changes.
  await sql`
    create trigger schedule_spans_append_only before update on schedule_spans
    for each row when (
      old.to_time is not null
      or (new.schedule, new.span, new.revision, new.state, new.from_time, new.actor, new.reason)
        is distinct from (old.schedule, old.span, old.revision, old.state, old.from_time, old.actor, old.reason)
    ) execute function refuse_change()
  `.execute(db);
  await sql`
    create trigger schedule_spans_kept before delete on schedule_spans for each row execute function refuse_change()
  `.execute(db);
}
