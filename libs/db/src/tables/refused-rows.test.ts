import type pg from 'pg';
import { beforeAll, expect, test } from 'vitest';
import { SERVER_SESSION, type ServerSession } from '../server-session.ts';
import { useDatabase } from '../test/database.ts';
import { findRefusedRows } from './refused-rows.ts';
import { type Flush, flushWatermarks } from './scheduler-watermarks.ts';
import type { LedgerRow } from './slot-ledger.ts';

const database = useDatabase();
const SCHEDULES = 1_000;
const NOMINAL_MS = 1_780_000_000_000;
const FRONTIER_MS = NOMINAL_MS - 5_000;
let ids: number[] = [];

beforeAll(async () => {
  const { rows } = await database.pool.query<{ id: number }>(
    `insert into schedules (uid, project, domain, schedule_id, generation, revision, hash_slot)
    select gen_random_uuid(), 'p', 'd', 's' || n, 1, 1, n % 1024 from generate_series(1, $1::int) as n returning id::float8 as id`,
    [SCHEDULES],
  );
  ids = rows.map(({ id }) => id);
  await database.pool.query(
    `insert into scheduler_leases (shard, owner, epoch, expire_time) values ('default', 'me', 1, now() + interval '1 hour')`,
  );
});

function dead(schedule: number, message = ''): LedgerRow {
  return {
    schedule,
    revision: 1,
    nominalMs: NOMINAL_MS,
    lastNominalMs: NOMINAL_MS,
    slots: 1,
    outcome: 'DEAD',
    reason: 'NOT_FOUND',
    message,
    runId: '',
    fireMs: undefined,
    latenessMs: undefined,
  };
}

let flushes = 0;

async function flushOf(client: pg.ClientBase, changes: Partial<Flush>): Promise<Flush> {
  const { rows } = await client.query<ServerSession>(`select ${SERVER_SESSION}`);
  return {
    shard: 'default',
    owner: 'me',
    epoch: 1,
    number: ++flushes,
    lineage: rows[0]!.lineage,
    format: 1,
    strategy: 'hash',
    units: [],
    throughMs: [],
    feedSnapshot: '10:10:',
    feedSession: rows[0]!.session,
    laggards: [],
    caughtUp: [],
    ledger: [],
    ...changes,
  };
}

/** Counts the statements that a client sends. */
async function counted<T>(
  use: (client: pg.ClientBase) => Promise<T>,
): Promise<{ result: T; statements: number }> {
  const client = await database.pool.connect();
  const query = client.query.bind(client);
  let statements = 0;
  Object.assign(client, {
    query: (...args: Parameters<typeof query>) => {
      statements++;
      return query(...args);
    },
  });
  try {
    return { result: await use(client), statements };
  } finally {
    Object.assign(client, { query });
    client.release();
  }
}

test('the schedules are found whose rows a constraint refuses, with what is stored of them, and nothing is written', async () => {
  const { pool } = database;
  const [withRow, without, other] = [ids[17]!, ids[500]!, ids[501]!];
  const units = Array.from({ length: 1024 }, (_, unit) => unit);
  const client = await pool.connect();
  const above = [{ after: FRONTIER_MS - 3_000, through: FRONTIER_MS - 2_000 }];
  expect(
    await flushWatermarks(
      pool,
      await flushOf(client, {
        units,
        throughMs: units.map(() => FRONTIER_MS),
        laggards: [{ schedule: withRow, throughMs: FRONTIER_MS - 4_000, settledAbove: above }],
      }),
    ),
  ).toBe('WRITTEN');
  client.release();
  await pool.query(
    `alter table slot_ledger add constraint refuses check (schedule not in (${withRow}, ${without}, ${other}))`,
  );
  try {
    const { result, statements } = await counted(async (connection) => {
      const flush = await flushOf(connection, {
        laggards: ids.map((schedule) => ({ schedule, throughMs: FRONTIER_MS - 1_000, settledAbove: [] })),
        ledger: ids.map((schedule) => dead(schedule)),
      });
      await expect(flushWatermarks(pool, flush)).rejects.toThrow('refuses');
      return await findRefusedRows(connection, flush);
    });
    expect(result).toEqual([
      {
        schedule: withRow,
        reason: expect.stringContaining('refuses'),
        stored: { throughMs: FRONTIER_MS - 4_000, settledAbove: above },
        hasOwn: true,
      },
      ...[without, other].map((schedule) => ({
        schedule,
        reason: expect.stringContaining('refuses'),
        stored: { throughMs: FRONTIER_MS, settledAbove: [] },
        hasOwn: false,
      })),
    ]);
    // Each trial is three statements: savepoint, trial, and back; and two halves are tried on each of the ten levels.
    expect(statements).toBeLessThan(3 * 2 * 10 * 3);
    const { rows } = await pool.query('select from slot_ledger');
    expect(rows).toHaveLength(0);
  } finally {
    await pool.query('alter table slot_ledger drop constraint refuses');
  }
});

test('text that cannot be stored is found too', async () => {
  const { pool } = database;
  const client = await pool.connect();
  try {
    const flush = await flushOf(client, { ledger: [dead(ids[1]!, 'fine'), dead(ids[2]!, 'not\0fine')] });
    await expect(flushWatermarks(pool, flush)).rejects.toThrow('invalid byte sequence');
    const found = await findRefusedRows(client, flush);
    expect(found.map(({ schedule }) => schedule)).toEqual([ids[2]]);
  } finally {
    client.release();
  }
});

test('what is no error of the data is thrown, and what is of no one schedule is not found', async () => {
  const { pool } = database;
  const client = await pool.connect();
  try {
    const flush = await flushOf(client, { ledger: [dead(ids[1]!)], units: [5_000], throughMs: [1] });
    await expect(flushWatermarks(pool, flush)).rejects.toThrow('scheduler_frontiers');
    expect(await findRefusedRows(client, flush)).toEqual([]);
    await client.query('set statement_timeout = 100');
    const holder = await pool.connect();
    await holder.query('begin; lock table slot_ledger');
    await expect(findRefusedRows(client, flush)).rejects.toThrow('statement timeout');
    await holder.query('rollback');
    holder.release();
    await client.query('reset statement_timeout');
  } finally {
    client.release();
  }
});

test('a flush of a promoted standby, or by a session that is gone, is not written', async () => {
  const { pool } = database;
  const client = await pool.connect();
  try {
    const promoted = await flushOf(client, { lineage: 'another', ledger: [dead(ids[3]!)] });
    expect(await flushWatermarks(pool, promoted)).toBe('FENCED');
    const unproven = await flushOf(client, { feedSession: '1 2026-01-01', ledger: [dead(ids[3]!)] });
    expect(await flushWatermarks(pool, unproven)).toBe('UNPROVEN');
    const { rows } = await pool.query('select from slot_ledger where schedule = $1', [ids[3]]);
    expect(rows).toHaveLength(0);
  } finally {
    client.release();
  }
});

test('a row of slots that nobody can count grows with what is settled later of its stretch; any other stays as it is', async () => {
  const { pool } = database;
  const client = await pool.connect();
  try {
    const uncounted = (lastNominalMs: number): LedgerRow => ({
      ...dead(ids[900]!),
      lastNominalMs,
      slots: 0,
      outcome: 'SKIPPED',
      reason: 'DEACTIVATED',
    });
    const last = async (): Promise<unknown> => {
      const { rows } = await client.query(
        `select outcome, slots::int, (extract(epoch from last_nominal_time) * 1000)::float8 as last from slot_ledger
        where schedule = $1 order by outcome`,
        [ids[900]],
      );
      return rows;
    };
    for (const [at, lastMs] of [NOMINAL_MS + 1_000, NOMINAL_MS + 5_000, NOMINAL_MS + 3_000].entries()) {
      const counts = { ...dead(ids[900]!), lastNominalMs: NOMINAL_MS + at * 1_000 };
      const flush = await flushOf(client, { ledger: [uncounted(lastMs), counts] });
      expect(await flushWatermarks(pool, flush)).toBe('WRITTEN');
    }
    expect(await last()).toEqual([
      { outcome: 'DEAD', slots: 1, last: NOMINAL_MS },
      { outcome: 'SKIPPED', slots: 0, last: NOMINAL_MS + 5_000 },
    ]);
  } finally {
    client.release();
  }
});
