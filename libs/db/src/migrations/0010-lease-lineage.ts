import { type Kysely, sql } from 'kysely';

/** Under which history of the database a lease was last granted. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Null: by a program that did not know it.
  await sql`alter table scheduler_leases add column lineage text`.execute(db);
}
