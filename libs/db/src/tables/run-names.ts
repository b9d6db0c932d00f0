import { sql } from 'kysely';
import type { RunDb, RunKey, RunNameRow } from './runs.ts';

/** The names that callers of ad-hoc runs chose, with the day on which the run stands. */
export interface RunNamesTable {
  project: string;
  domain: string;
  run_id: string;
  day: string;
}

/** The keys of those names that were taken, in no particular order. */
export async function selectNamedKeys(db: RunDb, names: readonly RunNameRow[]): Promise<RunKey[]> {
  if (names.length === 0) return [];
  const { rows } = await sql<RunKey>`
    select project, domain, run_id, day::text as day
    from run_names
    join unnest(
      ${names.map(({ project }) => project)}::text[],
      ${names.map(({ domain }) => domain)}::text[],
      ${names.map(({ run_id }) => run_id)}::text[]
    ) as wanted (project, domain, run_id) using (project, domain, run_id)
  `.execute(db);
  return rows;
}

/** Forgets the names of runs that are beyond retention. Resolves to their number. */
export async function deleteNamesBefore(db: RunDb, day: string): Promise<bigint> {
  const { numAffectedRows } = await sql`delete from run_names where day < ${day}::date`.execute(db);
  return numAffectedRows ?? 0n;
}
