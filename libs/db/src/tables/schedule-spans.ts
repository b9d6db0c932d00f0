import { type Kysely, sql } from 'kysely';
import { microsOf, timestampOf } from '../epoch-micros.ts';
import type { ScheduleTables, SpanEndReason, SpanState } from './schedule-tables.ts';

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

type Db = Kysely<ScheduleTables>;

/**
 * Reads the head of a schedule that is locked; undefined: of one that is to be created. A statement of its own, so that the clock
 * is read after the lock was had.
 */
export async function readSpanHead(db: Db, schedule: bigint | undefined): Promise<SpanHead> {
  return await db
    .selectFrom('schedule_spans')
    .select([
      sql<number>`coalesce(max(span), 0)`.as('lastSpan'),
      microsOf(sql`greatest(clock_timestamp(), max(coalesce(to_time, from_time)))`).as('instantMicros'),
    ])
    // Identities begin at 1.
    .where('schedule', '=', schedule ?? 0n)
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
