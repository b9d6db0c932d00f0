import { type Kysely, sql } from 'kysely';
import { microsOf, timestampOf } from '../epoch-micros.ts';
import type { ScheduleTables } from './schedule-tables.ts';

/** A revision to write. */
export interface NewRevision {
  readonly timing: Uint8Array;
  readonly run: Uint8Array;
  /** The run's task, for filters. */
  readonly task: string;
  /** The zone that its local times are in, for filters. */
  readonly timeZone: string;
}

/** A revision as stored. */
export interface RevisionRow {
  readonly revision: number;
  readonly timing: Buffer;
  readonly run: Buffer;
  readonly actor: string;
  /** When it was written, in microseconds since the epoch. */
  readonly create_micros: number;
}

type Db = Kysely<ScheduleTables>;

/** Writes a revision. */
export async function insertRevision(
  db: Db,
  key: { readonly schedule: bigint; readonly revision: number },
  revision: NewRevision,
  written: { readonly actor: string; readonly instantMicros: number },
): Promise<void> {
  await db
    .insertInto('schedule_revisions')
    .values({
      ...key,
      timing: Buffer.from(revision.timing),
      run: Buffer.from(revision.run),
      task: revision.task,
      time_zone: revision.timeZone,
      actor: written.actor,
      create_time: timestampOf(written.instantMicros),
    })
    .execute();
}

/** One revision of a schedule; undefined if there is none of that number. */
export async function readRevision(
  db: Db,
  schedule: bigint,
  revision: number,
): Promise<RevisionRow | undefined> {
  return await selectRevisions(db, schedule).where('revision', '=', revision).executeTakeFirst();
}

/** One page of the revisions of a schedule. */
export interface RevisionsPage {
  readonly schedule: bigint;
  /** Begins below this number. Undefined: at the newest. */
  readonly below: number | undefined;
  readonly limit: number;
  /** No more revisions after so many bytes of specs; at least one is returned all the same. */
  readonly maxBytes: number;
}

/** A page of revisions, the newest first, and whether more follow. */
export async function listRevisions(
  db: Db,
  page: RevisionsPage,
): Promise<{ readonly revisions: readonly RevisionRow[]; readonly more: boolean }> {
  let found = selectRevisions(db, page.schedule)
    .select(sql<number>`octet_length(timing) + octet_length(run)`.as('bytes'))
    .orderBy('revision', 'desc')
    .limit(page.limit + 1);
  if (page.below !== undefined) found = found.where('revision', '<', page.below);
  const measured = db
    .selectFrom(found.as('found'))
    .selectAll()
    .select([
      sql<bigint>`sum(bytes) over (order by revision desc) - bytes`.as('bytes_before'),
      sql<bigint>`count(*) over ()`.as('found'),
    ]);
  const rows = await db
    .selectFrom(measured.as('measured'))
    .selectAll()
    .where(sql<boolean>`bytes_before < ${page.maxBytes}`)
    .orderBy('revision', 'desc')
    .limit(page.limit)
    .execute();
  return { revisions: rows, more: Number(rows[0]?.found ?? 0) > rows.length };
}

function selectRevisions(db: Db, schedule: bigint) {
  return db
    .selectFrom('schedule_revisions')
    .select(['revision', 'timing', 'run', 'actor', microsOf(sql.ref('create_time')).as('create_micros')])
    .where('schedule', '=', schedule);
}
