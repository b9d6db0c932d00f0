import { sql } from 'kysely';
import { afterEach, describe, expect, test } from 'vitest';
import { createDatabase } from './database.ts';
import { createPool, type PoolOptions } from './pool.ts';
import { isConnectionError, SqlState, sqlState } from './sqlstate.ts';
import { useDatabase } from './test/database.ts';
import { TcpProxy } from './test/tcp-proxy.ts';

const database = useDatabase();
const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

function pool(more: Partial<PoolOptions> = {}) {
  const errors: Error[] = [];
  const made = createPool({
    url: database.url,
    applicationName: 'pool-test',
    onError: (error) => void errors.push(error),
    ...more,
  });
  undo.push(() => made.end());
  return { pool: made, errors };
}

describe('what columns come out as', () => {
  test.each([
    ['9223372036854775807::int8', 9223372036854775807n],
    ['array[1, null, 9007199254740993]::int8[]', [1n, null, 9007199254740993n]],
    ["'{}'::int8[]", []],
    ["'18446744073709551615'::xid8", 18446744073709551615n],
    ["array['3', '4']::xid8[]", [3n, 4n]],
    ['count(*)', 1n],
    ['7::int4', 7],
    ["'2026-11-21T12:00:00.123456Z'::timestamptz", new Date('2026-11-21T12:00:00.123Z')],
    ["(extract(epoch from '2026-11-21T12:00:00.123456Z'::timestamptz) * 1000)::float8", 1795262400123.456],
    ["'7b0e4c8e-2b1f-4b9f-8a53-7d1f2f0d9c11'::uuid", '7b0e4c8e-2b1f-4b9f-8a53-7d1f2f0d9c11'],
    ['12345678901234567890.5::numeric', '12345678901234567890.5'],
    ["'10:20:10,14,15'::pg_snapshot", '10:20:10,14,15'],
    ['\'{"a": [1]}\'::jsonb', { a: [1] }],
    ["'\\x00ff'::bytea", Buffer.from([0, 255])],
  ])('%s', async (expression, value) => {
    const { rows } = await pool().pool.query(`select ${expression} as value`);
    expect(rows).toEqual([{ value }]);
  });

  test('the global parsers are left alone', async () => {
    const { default: pg } = await import('pg');
    expect(pg.types.getTypeParser(20)('1')).toBe('1');
  });
});

test('the limits hold from the first statement on, beside those of the URL', async () => {
  const url = `${database.url}&options=-c%20work_mem%3D5MB`;
  const { rows } = await pool({ url, lockTimeoutMs: 1_234 }).pool.query(
    `select name, setting from pg_settings where name in ('statement_timeout', 'lock_timeout', 'transaction_timeout',
       'idle_in_transaction_session_timeout', 'work_mem', 'application_name') order by name`,
  );
  expect(Object.fromEntries(rows.map((row) => [row.name, row.setting]))).toEqual({
    application_name: 'pool-test',
    idle_in_transaction_session_timeout: '10000',
    lock_timeout: '1234',
    statement_timeout: '30000',
    transaction_timeout: '60000',
    work_mem: '5120',
  });
});

test('a statement that takes too long is ended by the server', async () => {
  const ended = pool({ statementTimeoutMs: 50 }).pool.query('select pg_sleep(30)');
  await expect(ended).rejects.toMatchObject({ code: SqlState.queryCanceled });
});

describe('a connection that breaks', () => {
  test('while idle is told, and replaced', async () => {
    const { pool: ours, errors } = pool();
    const { rows } = await ours.query('select pg_backend_pid() as pid');
    const broken = new Promise((resolve) => ours.once('remove', resolve));
    await database.pool.query('select pg_terminate_backend($1)', [rows[0].pid]);
    await broken;
    expect(errors.map(sqlState)).toContain(SqlState.adminShutdown);
    expect((await ours.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('between two statements of a transaction does not end the process', async () => {
    const { pool: ours, errors } = pool();
    const client = await ours.connect();
    const { rows } = await client.query('select pg_backend_pid() as pid');
    await client.query('begin');
    const broken = new Promise((resolve) => client.once('end', resolve));
    await database.pool.query('select pg_terminate_backend($1)', [rows[0].pid]);
    await broken;
    const next = await client.query('select 1').catch((error: unknown) => error);
    client.release();
    expect(isConnectionError(next)).toBe(true);
    expect(errors.length).toBeGreaterThan(0);
    expect((await ours.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('while it works is a connection error', async () => {
    const proxy = await TcpProxy.start(database.url);
    undo.push(() => proxy.close());
    const { pool: ours } = pool({ url: proxy.through(database.url) });
    const working = ours.query('select pg_sleep(30)');
    await until(async () => (await activity('pg_sleep')) === 1);
    proxy.reset();
    const error = await working.catch((reason: unknown) => reason);
    expect(isConnectionError(error)).toBe(true);
    expect((await ours.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('without a word is cut when the server would have answered long ago', {
    timeout: 20_000,
  }, async () => {
    const proxy = await TcpProxy.start(database.url);
    undo.push(() => proxy.close());
    const limits = { statementTimeoutMs: 100, idleInTransactionTimeoutMs: 100 };
    const { pool: ours } = pool({ url: proxy.through(database.url), ...limits, max: 1 });
    const db = createDatabase<Record<string, never>>(ours);
    await sql`select 1`.execute(db);
    proxy.freeze();
    const started = performance.now();
    const error = await sql`select 1`.execute(db).catch((reason: unknown) => reason);
    expect(isConnectionError(error)).toBe(true);
    expect(performance.now() - started).toBeLessThan(8_000);
    proxy.thaw();
    expect((await sql`select 1 as one`.execute(db)).rows).toEqual([{ one: 1 }]);
  });
});

test('nobody there, nobody answering, and no free connection are connection errors, in time', async () => {
  const proxy = await TcpProxy.start(database.url);
  const url = proxy.through(database.url);
  proxy.freeze();
  const silent = await pool({ url, connectTimeoutMs: 100 })
    .pool.query('select')
    .catch((reason: unknown) => reason);
  expect(isConnectionError(silent)).toBe(true);
  await proxy.close();
  const refused = await pool({ url })
    .pool.query('select')
    .catch((reason: unknown) => reason);
  expect(isConnectionError(refused)).toBe(true);

  const { pool: busy } = pool({ max: 1, connectTimeoutMs: 100 });
  const holder = await busy.connect();
  const waited = await busy.query('select').catch((reason: unknown) => reason);
  holder.release();
  expect(isConnectionError(waited)).toBe(true);
});

test('a mistake in a statement is no connection error', async () => {
  const error = await database.pool.query('select nonsense').catch((reason: unknown) => reason);
  expect(isConnectionError(error)).toBe(false);
  expect(sqlState(error)).toBe('42703');
});

async function activity(part: string): Promise<number> {
  const { rows } = await database.pool.query(
    `select count(*)::int as count from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and query like $1`,
    [`%${part}%`],
  );
  return rows[0].count;
}

/** Asks the server until the answer is yes. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition()));
}
