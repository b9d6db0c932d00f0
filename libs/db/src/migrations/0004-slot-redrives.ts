import { type Kysely, sql } from 'kysely';

/** Redrives of dead slots; and what reads of the slot ledger by slot, and of pauses by their end, need. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table slot_redrives (
      schedule bigint not null references schedules (id),
      -- Of the dead slot, as the ledger has it.
      revision integer not null,
      nominal_time timestamptz not null,
      actor text not null,
      -- Stops of the schedule count from here on.
      request_time timestamptz not null default clock_timestamp(),
      primary key (schedule, nominal_time)
    )
  `.execute(db);
  await sql`create index slot_redrives_request_time on slot_redrives (request_time)`.execute(db);

  // A year's catch-up window, or a redrive, is later than an integer of milliseconds can tell.
  await sql`alter table slot_ledger alter column lateness_ms type bigint`.execute(db);
  // Rows that speak of many slots are looked for by their end; there are few of them.
  await sql`create index slot_ledger_ranges on slot_ledger (schedule, last_nominal_time) where slots > 1`.execute(
    db,
  );

  // Pauses that have ended get their ledger rows in this order.
  await sql`
    create index schedule_spans_ended_pauses on schedule_spans (to_time)
    where state = 'PAUSED' and to_time is not null
  `.execute(db);
}
