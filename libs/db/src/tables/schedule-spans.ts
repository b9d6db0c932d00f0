import { type Kysely, sql } from 'kysely';
import { microsOf, timestampOf } from '../epoch-micros.ts';

/** What a span's revision does. */
export type SpanState = 'ACTIVE' | 'PAUSED';

/** What ended a span. */
export type SpanEndReason = 'REVISED' | 'PAUSED' | 'UNPAUSED' | 'DEACTIVATED' | 'DELETED';

/** The history of schedules: rows are added, and ended once. The schedules service is its only writer. */
export interface ScheduleSpansTable {
  schedule: bigint;
  span: number;
  revision: number;
  state: SpanState;
  from_time: Date;
  to_time: Date | null;
  end_reason: SpanEndReason | null;
  actor: string;
  reason: string;
}

/** Where a schedule's history stands. */
export interface SpanHead {
  /** The number of the newest span; 0 if there is none. */
  readonly lastSpan: number;
  /**
   * The instant of a write that is made now, in microseconds since the epoch: the database's clock, but never before what the
   * history already holds.
   */
  readonly instantMicros: number;
}

type Db = Kysely<{ schedule_spans: ScheduleSpansTable }>;

/** Reads the head of a schedule that is locked. A statement of its own: the clock is to be read after the lock was had. */
export async function readSpanHead(db: Db, schedule: bigint): Promise<SpanHead> {
  return await db
    .selectFrom('schedule_spans')
    .select([
      sql<number>`coalesce(max(span), 0)`.as('lastSpan'),
      microsOf(sql`greatest(clock_timestamp(), max(coalesce(to_time, from_time)))`).as('instantMicros'),
    ])
    .where('schedule', '=', schedule)
    .executeTakeFirstOrThrow();
}

/** Ends the open span of a schedule. An Error if there is none. */
export async function endSpan(
  db: Db,
  schedule: bigint,
  instantMicros: number,
  reason: SpanEndReason,
): Promise<void> {
  await db
    .updateTable('schedule_spans')
    .set({ to_time: timestampOf(instantMicros), end_reason: reason })
    .where('schedule', '=', schedule)
    .where('to_time', 'is', null)
    .returning('span')
    .executeTakeFirstOrThrow();
}

/** A span to begin. */
export interface NewSpan {
  readonly schedule: bigint;
  readonly span: number;
  readonly revision: number;
  readonly state: SpanState;
  readonly actor: string;
  /** Why, as given; may be empty. */
  readonly reason: string;
}

/** Begins a span at an instant. */
export async function beginSpan(db: Db, instantMicros: number, span: NewSpan): Promise<void> {
  await db
    .insertInto('schedule_spans')
    .values({ ...span, from_time: timestampOf(instantMicros), to_time: null, end_reason: null })
    .execute();
}
