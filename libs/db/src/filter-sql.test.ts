import { DomainError } from '@carillon/core/domain-error.ts';
import { filterError, parseFilter } from '@carillon/core/filter.ts';
import { type Kysely, sql } from 'kysely';
import { beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from './database.ts';
import { type FilterField, type FilterFields, filterSql } from './filter-sql.ts';
import { useDatabase } from './test/database.ts';

const database = useDatabase({ empty: true });
let db: Kysely<unknown>;

const FIELDS: FilterFields = new Map<string, FilterField>([
  ['name', { kind: 'text', sql: sql.ref('name') }],
  [
    'state',
    {
      kind: 'word',
      sql: sql.ref('state'),
      words: new Map([
        ['ON', 1],
        ['OFF', 0],
      ]),
    },
  ],
  ['size', { kind: 'integer', sql: sql.ref('size') }],
  ['create_time', { kind: 'time', sql: sql.ref('create_time') }],
  ['labels', { kind: 'labels', sql: sql.ref('labels') }],
  [
    'odd',
    {
      kind: 'other',
      term: ({ operator, column }) => {
        if (operator !== '=') throw filterError(column, 'odd is compared by = only');
        return sql<boolean>`size % 2 = 1`;
      },
    },
  ],
]);

beforeAll(async () => {
  db = createDatabase(database.pool);
  await sql`create table things (name text, state int, size bigint, create_time timestamptz, labels jsonb)`.execute(
    db,
  );
  await sql`
    insert into things values
      ('alpha', 1, 1, '2026-01-01T00:00:00.000001Z', '{"team": "a", "__proto__": "x"}'),
      ('al%ha', 0, 2, '2026-01-02T00:00:00Z', '{"team": "b"}'),
      ('beta', null, 3, '2026-01-03T00:00:00Z', '{}'),
      (null, 1, 4, null, '{"team": "it''s"}')
  `.execute(db);
});

async function sizes(text: string): Promise<number[]> {
  const { rows } = await sql<{ size: bigint }>`
    select size from things where ${filterSql(parseFilter(text), FIELDS)} order by size
  `.execute(db);
  return rows.map(({ size }) => Number(size));
}

function refusal(text: string): string {
  try {
    filterSql(parseFilter(text), FIELDS);
  } catch (error) {
    if (error instanceof DomainError && error.fault.kind === 'INVALID_ARGUMENT') {
      return error.fault.violations[0]?.description ?? '';
    }
    throw error;
  }
  return 'accepted';
}

describe('filters in SQL', () => {
  it.each([
    ['', [1, 2, 3, 4]],
    ['name = alpha', [1]],
    ['name = "al%ha"', [2]],
    ['name = al*', [1, 2]],
    ['name = "al%*"', [2]],
    ['name != alpha', [2, 3, 4]],
    ['name != al*', [3, 4]],
    ['name > alpha', [3]],
    ['name <= alpha', [1, 2]],
    ['state = ON', [1, 4]],
    ['state != ON', [2, 3]],
    ['size >= 2 AND size < 4', [2, 3]],
    ['size = -1', []],
    ['size != 999999999999999', [1, 2, 3, 4]],
    ['create_time = "2026-01-01T00:00:00.000001Z"', [1]],
    ['create_time > 2026-01-01T00:00:00Z AND create_time < 2026-01-03T00:00:00Z', [1, 2]],
    ['create_time >= "2026-01-03T01:00:00+01:00"', [3]],
    ['create_time != "2026-01-03T00:00:00Z"', [1, 2, 4]],
    ['labels.team = a', [1]],
    ['labels.team != a', [2, 3, 4]],
    ['labels.team = *', [1, 2, 4]],
    ['labels.team != *', [3]],
    ['labels.team >= b', [2, 4]],
    [`labels.team = "it's"`, [4]],
    ['labels.__proto__ = x', [1]],
    [`labels."x' or 1=1 --" = y`, []],
    [`name = "'; drop table things; --"`, []],
    ['odd = 1 AND size > 1', [3]],
  ])('%j', async (text, expected) => {
    expect(await sizes(text)).toEqual(expected);
  });

  it.each([
    [
      'other = 1',
      'column 1: other is not a field to filter by; name, state, size, create_time, labels, odd are',
    ],
    ['name = a AND __proto__ = 1', 'column 14: __proto__ is not a field'],
    ['name.x = 1', 'column 1: name has no keys'],
    ['labels = x', 'column 1: a key must follow, as in labels.team'],
    ['state = MAYBE', 'column 9: state is one of ON, OFF'],
    ['state > ON', 'column 1: state is compared by = and != only'],
    ['state = O*', 'column 9: state has no prefixes: remove the *'],
    ['size = big', 'column 8: size is a whole number of at most 15 digits'],
    ['size = 1.5', 'column 8: size is a whole number'],
    ['size = 9999999999999999', 'column 8: size is a whole number'],
    ['create_time > yesterday', 'column 15: create_time is a time from 1970 to 2199'],
    ['create_time > 0001-01-01T00:00:00Z', 'column 15: create_time is a time from 1970 to 2199'],
    ['create_time > 9999-01-01T00:00:00Z', 'column 15: create_time is a time from 1970 to 2199'],
    ['odd != 1', 'column 1: odd is compared by = only'],
  ])('refuse %j', (text, problem) => {
    expect(refusal(text)).toContain(problem);
  });
});
