import { type Kysely, sql } from 'kysely';

/** Which schedulers there are: for operators, and for a leader that looks for a standby. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table scheduler_replicas (
      instance text primary key,
      shard text not null,
      state text not null check (state in ('STARTING', 'STANDBY_READY', 'LEADING', 'DRAINING')),
      url text not null,
      version text not null,
      beat_time timestamptz not null default clock_timestamp()
    )
  `.execute(db);
}
