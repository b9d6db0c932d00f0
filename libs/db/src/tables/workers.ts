import { sql } from 'kysely';
import type { RunDb } from './runs.ts';

/** Workers as they registered, for people and metrics: no lease depends on it. */
export interface WorkersTable {
  worker: string;
  queues: string[];
  slots: number;
  version: string;
  register_time: Date;
  seen_time: Date;
}

/** A worker that makes itself known. */
export interface NewWorker {
  readonly worker: string;
  readonly queues: readonly string[];
  readonly slots: number;
  readonly version: string;
}

/** Makes a worker known, in place of what was known under its name. */
export async function registerWorker(db: RunDb, worker: NewWorker): Promise<void> {
  await sql`
    insert into workers (worker, queues, slots, version)
    values (${worker.worker}, ${worker.queues}::text[], ${worker.slots}, ${worker.version})
    on conflict (worker) do update set
      queues = excluded.queues, slots = excluded.slots, version = excluded.version,
      register_time = excluded.register_time, seen_time = excluded.seen_time
  `.execute(db);
}

/** Notes that a worker is alive. */
export async function touchWorker(db: RunDb, worker: string): Promise<void> {
  await sql`update workers set seen_time = clock_timestamp() where worker = ${worker}`.execute(db);
}

/** How many workers were seen within the last so many milliseconds. */
export async function countLiveWorkers(db: RunDb, withinMs: number): Promise<number> {
  const { rows } = await sql<{ live: number }>`
    select count(*)::float8 as live from workers
    where seen_time > clock_timestamp() - ${withinMs}::float8 * interval '1 millisecond'
  `.execute(db);
  return rows[0]?.live ?? 0;
}

/** Forgets workers that were not seen for so many milliseconds. */
export async function forgetWorkers(db: RunDb, unseenMs: number): Promise<void> {
  await sql`
    delete from workers where seen_time < clock_timestamp() - ${unseenMs}::float8 * interval '1 millisecond'
  `.execute(db);
}
