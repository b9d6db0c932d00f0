import { type Kysely, sql } from 'kysely';

/** When schedules were in quarantine: what fell due then was missed, whoever led. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table schedule_quarantines
      -- The newest span that hands out nothing; null: none does.
      add column through_span integer
  `.execute(db);
  await sql`
    create table schedule_ended_quarantines (
      schedule bigint not null,
      from_time timestamptz not null,
      to_time timestamptz not null,
      through_span integer,
      primary key (schedule, from_time)
    )
  `.execute(db);
}
