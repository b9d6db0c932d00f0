import { type Kysely, sql } from 'kysely';

/** Ledger rows of slots that nobody can count: 0 of them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table slot_ledger drop constraint slot_ledger_slots_check`.execute(db);
  await sql`alter table slot_ledger add constraint slot_ledger_slots_check check (slots >= 0)`.execute(db);
  await sql`drop index slot_ledger_ranges`.execute(db);
  await sql`create index slot_ledger_ranges on slot_ledger (schedule, last_nominal_time) where slots <> 1`.execute(
    db,
  );
}
