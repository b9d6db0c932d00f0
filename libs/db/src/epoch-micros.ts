import { type Expression, type RawBuilder, sql } from 'kysely';

/**
 * A `timestamptz` as microseconds since the epoch: all that PostgreSQL keeps of it, in a number that a double holds exactly
 * until the year 2255. (A `Date` would lose the microseconds, by which pages and spans are ordered.)
 */
export function microsOf(time: Expression<unknown>): RawBuilder<number> {
  return sql<number>`(extract(epoch from ${time}) * 1000000)::float8`;
}

/** The same for a column that may be null. */
export function nullableMicrosOf(time: Expression<unknown>): RawBuilder<number | null> {
  return sql<number | null>`(extract(epoch from ${time}) * 1000000)::float8`;
}

/** The `timestamptz` of microseconds since the epoch, as a parameter. */
export function timestampOf(micros: number): RawBuilder<Date> {
  return sql<Date>`(timestamptz 'epoch' + ${micros}::float8 * interval '1 microsecond')`;
}
