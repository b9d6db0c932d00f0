import pg from 'pg';

/**
 * How columns come out of queries, for our own connections alone: pg's global parsers are left as they are.
 *
 * - `int8`, `xid8` and their arrays: `bigint`, because a `number` loses digits beyond 2^53.
 * - `timestamptz`: `Date`, which keeps milliseconds; where microseconds matter, select
 *   `(extract(epoch from t) * 1000)::float8`, which is exact to a microsecond in a `number`.
 * - `uuid`, `numeric`, `pg_snapshot`: `string`. `jsonb`: parsed. `bytea`: `Buffer`.
 */
export const columnValues: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format: 'text' | 'binary' = 'text') {
    const ours = format === 'text' ? PARSERS.get(oid) : undefined;
    return ours ?? pg.types.getTypeParser(oid, format);
  },
};

const INT8 = 20;
const INT8_ARRAY = 1016;
const XID8 = 5069;
const XID8_ARRAY = 271;

const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [INT8, BigInt],
  [XID8, BigInt],
  [INT8_ARRAY, parseBigints],
  [XID8_ARRAY, parseBigints],
]);

/** Parses a flat array. */
function parseBigints(text: string): (bigint | null)[] {
  const inner = text.slice(1, -1);
  if (inner === '') return [];
  return inner.split(',').map((item) => (item === 'NULL' ? null : BigInt(item)));
}
