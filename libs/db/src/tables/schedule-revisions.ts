import { type Kysely, sql } from 'kysely';
import { microsOf, timestampOf } from '../epoch-micros.ts';

/** Revisions of schedules, which never change. The schedules service is its only writer. */
export interface ScheduleRevisionsTable {
  schedule: bigint;
  revision: number;
  /** A ScheduleSpec without its run. */
  timing: Buffer;
  /** A RunSpec. */
  run: Buffer;
  task: string;
  time_zone: string;
  create_time: Date;
  actor: string;
}

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

type Db = Kysely<{ schedule_revisions: ScheduleRevisionsTable }>;

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

/**
 * Revisions of a schedule, the newest first, from `below` down (undefined: from the newest): at most `limit`, and no more
 * after `maxBytes` of specs, but at least one.
 */
export async function listRevisions(
  db: Db,
  page: {
    readonly schedule: bigint;
    readonly below: number | undefined;
    readonly limit: number;
    readonly maxBytes: number;
  },
): Promise<RevisionRow[]> {
  let rows = selectRevisions(db, page.schedule)
    .select(sql<number>`octet_length(timing) + octet_length(run)`.as('bytes'))
    .orderBy('revision', 'desc')
    .limit(page.limit);
  if (page.below !== undefined) rows = rows.where('revision', '<', page.below);
  const measured = db
    .selectFrom(rows.as('found'))
    .selectAll()
    .select(sql<bigint>`sum(bytes) over (order by revision desc) - bytes`.as('bytes_before'));
  return await db
    .selectFrom(measured.as('measured'))
    .select(['revision', 'timing', 'run', 'actor', 'create_micros'])
    .where(sql<boolean>`bytes_before < ${page.maxBytes}`)
    .orderBy('revision', 'desc')
    .execute();
}

function selectRevisions(db: Db, schedule: bigint) {
  return db
    .selectFrom('schedule_revisions')
    .select(['revision', 'timing', 'run', 'actor', microsOf(sql.ref('create_time')).as('create_micros')])
    .where('schedule', '=', schedule);
}
