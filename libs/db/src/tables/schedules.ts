import { formatScheduleName, type ScheduleName } from '@carillon/core/resource-name.ts';
import { rateAnchorSec } from '@carillon/core/schedule-spec.ts';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { microsOf, nullableMicrosOf, timestampOf } from '../epoch-micros.ts';
import type { ScheduleTables } from './schedule-tables.ts';

/** Told after the commit of every write to a schedule: read the feed. Without a payload. */
export const SCHEDULES_CHANNEL = 'carillon_schedules';

/** A row, with its times in microseconds since the epoch. */
export interface ScheduleRow {
  readonly id: bigint;
  readonly uid: string;
  readonly project: string;
  readonly domain: string;
  readonly schedule_id: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Counts every write; the etag. */
  readonly generation: bigint;
  /** The newest revision's number. */
  readonly revision: number;
  /** The first activation, in whole seconds; null before it. */
  readonly anchor_micros: number | null;
  readonly create_micros: number;
  readonly update_micros: number;
  readonly delete_micros: number | null;
}

type Db = Kysely<ScheduleTables>;

const PLAIN = [
  'id',
  'uid',
  'project',
  'domain',
  'schedule_id',
  'description',
  'labels',
  'generation',
  'revision',
] as const;

function selectRow(db: Db, { project, domain, scheduleId }: ScheduleName) {
  return db
    .selectFrom('schedules')
    .select(PLAIN)
    .select([
      nullableMicrosOf(sql.ref('anchor_time')).as('anchor_micros'),
      microsOf(sql.ref('create_time')).as('create_micros'),
      microsOf(sql.ref('update_time')).as('update_micros'),
      nullableMicrosOf(sql.ref('delete_time')).as('delete_micros'),
    ])
    .where('project', '=', project)
    .where('domain', '=', domain)
    .where('schedule_id', '=', scheduleId);
}

/** Locks the schedule of a name until the end of the transaction. Undefined if there is none, or it is deleted. */
export async function lockSchedule(db: Db, name: ScheduleName): Promise<ScheduleRow | undefined> {
  return await selectRow(db, name).where('delete_time', 'is', null).forUpdate().executeTakeFirst();
}

/**
 * Locks the name itself, and its newest incarnation if it has any, deleted or not. Two transactions that create under
 * one name come one after the other, so that the generations of a name never restart.
 */
export async function lockNewestIncarnation(db: Db, name: ScheduleName): Promise<ScheduleRow | undefined> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${formatScheduleName(name)}, 0))`.execute(db);
  return await selectRow(db, name).orderBy('id', 'desc').limit(1).forUpdate().executeTakeFirst();
}

/** A first row of an incarnation. */
export interface NewScheduleRow extends ScheduleName {
  readonly uid: string;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly generation: bigint;
  readonly hashSlot: number;
  /** Whether it is activated at once. */
  readonly active: boolean;
  /** When it is created, in microseconds since the epoch. */
  readonly instantMicros: number;
}

/** Writes a schedule whose newest revision is 1. Returns its id. */
export async function insertSchedule(db: Db, row: NewScheduleRow): Promise<bigint> {
  const instant = timestampOf(row.instantMicros);
  const { id } = await db
    .insertInto('schedules')
    .values({
      uid: row.uid,
      project: row.project,
      domain: row.domain,
      schedule_id: row.scheduleId,
      description: row.description,
      labels: JSON.stringify(row.labels),
      generation: row.generation,
      revision: 1,
      hash_slot: row.hashSlot,
      anchor_time: row.active ? wholeSecond(row.instantMicros) : null,
      create_time: instant,
      update_time: instant,
      xid: sql`pg_current_xact_id()`,
    })
    .returning('id')
    .executeTakeFirstOrThrow();
  return id;
}

/** What a write changes of a row; what is left out stays. */
export interface ScheduleRowChange {
  readonly description?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** The newest revision's number. */
  readonly revision?: number | undefined;
  /** The first activation: kept if there was one before. */
  readonly activated?: boolean | undefined;
  readonly deleted?: boolean | undefined;
}

/** Changes a row that {@link lockSchedule} has locked, counts the write, and stamps it for the change feed. */
export async function writeSchedule(
  db: Db,
  id: bigint,
  instantMicros: number,
  change: ScheduleRowChange,
): Promise<void> {
  const instant = timestampOf(instantMicros);
  await db
    .updateTable('schedules')
    .set({
      generation: sql`generation + 1`,
      update_time: instant,
      xid: sql`pg_current_xact_id()`,
      ...(change.description === undefined ? {} : { description: change.description }),
      ...(change.labels === undefined ? {} : { labels: JSON.stringify(change.labels) }),
      ...(change.revision === undefined ? {} : { revision: change.revision }),
      ...(change.activated ? { anchor_time: sql`coalesce(anchor_time, ${wholeSecond(instantMicros)})` } : {}),
      ...(change.deleted ? { delete_time: instant } : {}),
    })
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
}

function wholeSecond(micros: number): RawBuilder<Date> {
  return timestampOf(rateAnchorSec(micros / 1000) * 1_000_000);
}
