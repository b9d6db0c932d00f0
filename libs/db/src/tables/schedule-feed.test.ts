import { hashAssignment, namedAssignment, SINGLE_SHARD, scopeOf } from '@carillon/core/assignment.ts';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SERVER_SESSION, type ServerSession } from '../server-session.ts';
import { useDatabase } from '../test/database.ts';
import { type FeedRow, readAllSchedules, type StoredWatermarks } from './schedule-feed.ts';
import { setAssignment } from './scheduler-assignments.ts';
import { acquireLease } from './scheduler-leases.ts';
import { type Flush, flushWatermarks } from './scheduler-watermarks.ts';

const HOUR_MS = 3_600_000;
const HASH_SLOT = 7;
const everything = scopeOf(hashAssignment(1, 1), SINGLE_SHARD);
const byProject = scopeOf(namedAssignment(1, 'project', [['shop'], ['*']]), 'project-shop');
const database = useDatabase();
/** A snapshot before the second span, and one after it. */
let before: string;
let after: string;
let schedule: number;

beforeAll(async () => {
  const { pool } = database;
  const snapshot = async (): Promise<string> => {
    const { rows } = await pool.query<{ snapshot: string }>('select pg_current_snapshot()::text as snapshot');
    return rows[0]!.snapshot;
  };
  const { rows } = await pool.query<{ id: number }>(
    `insert into schedules (uid, project, domain, schedule_id, hash_slot, generation, revision, xid)
    values (gen_random_uuid(), 'shop', 'live', 's', ${HASH_SLOT}, 1, 1, pg_current_xact_id()) returning id::float8 as id`,
  );
  schedule = rows[0]!.id;
  await pool.query(
    `insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
    values ($1, 1, '', '', 'test', 'UTC', 'me')`,
    [schedule],
  );
  const addSpan = async (span: number, from: number, to: number | null): Promise<void> => {
    await pool.query(
      `insert into schedule_spans (schedule, span, revision, state, from_time, to_time, end_reason, actor, reason, xid)
      values ($1, $2, 1, 'ACTIVE', to_timestamp($3), to_timestamp($4), $5, 'me', '', pg_current_xact_id())`,
      [schedule, span, from, to, to === null ? null : 'REVISED'],
    );
  };
  await addSpan(1, 0, 3_600);
  before = await snapshot();
  await addSpan(2, 3_600, null);
  after = await snapshot();
});

beforeEach(async () => {
  await database.pool.query(
    'truncate scheduler_leases, scheduler_terms, scheduler_frontiers, scheduler_named_frontiers, scheduler_laggards',
  );
});

type Place = Pick<Flush, 'strategy' | 'units'>;
const HASH: Place = { strategy: 'hash', units: [HASH_SLOT] };
const PROJECT: Place = { strategy: 'project', units: ['shop'] };
const DOMAIN: Place = { strategy: 'domain', units: ['live'] };

/** Flushes frontiers as the holder of the lease does, and what else is given. */
async function flush(
  place: Place,
  throughMs: number,
  feedSnapshot: string,
  more: Partial<Flush> = {},
): Promise<void> {
  const { pool } = database;
  const assignment = hashAssignment(1, 1);
  await setAssignment(pool, assignment);
  const grant = await acquireLease(
    pool,
    { shard: SINGLE_SHARD, version: 1, older: [], format: 1, owner: 'me', ttlMs: 60_000 },
    [],
  );
  const { rows } = await pool.query<ServerSession>(`select ${SERVER_SESSION}`);
  const { lineage, session } = rows[0]!;
  const result = await flushWatermarks(pool, {
    shard: SINGLE_SHARD,
    owner: 'me',
    epoch: grant!.epoch,
    number: 1,
    lineage,
    format: 2,
    ...place,
    throughMs: [throughMs],
    feedSnapshot,
    feedSession: session,
    laggards: [],
    caughtUp: [],
    ledger: [],
    ...more,
  });
  expect(result).toBe('WRITTEN');
}

async function load(scope = everything): Promise<{ rows: FeedRow[]; watermarks: StoredWatermarks }> {
  const rows: FeedRow[] = [];
  let watermarks: StoredWatermarks | undefined;
  const client = await database.pool.connect();
  try {
    await readAllSchedules(
      client,
      scope,
      (read) => {
        watermarks = read;
      },
      async (page) => void rows.push(...page),
    );
  } finally {
    client.release();
  }
  return { rows, watermarks: watermarks! };
}

const frontiersOf = (rows: readonly FeedRow[]): (number | null)[] => rows.map(({ frontierMs }) => frontierMs);

describe('how far a span is settled', () => {
  test('is told by none while no frontier sees it', async () => {
    expect(frontiersOf((await load()).rows)).toEqual([null, null]);
    await flush(HASH, HOUR_MS, '1:1:');
    expect((await load()).rows).toMatchObject([{ seen: false }, { seen: false }]);
  });

  test('is the furthest of those that see it, of all units that the schedule was ever in', async () => {
    await flush(HASH, 3 * HOUR_MS, before);
    await flush(PROJECT, 2 * HOUR_MS, after);
    await flush(DOMAIN, HOUR_MS, after);
    const { rows } = await load();
    expect(frontiersOf(rows)).toEqual([3 * HOUR_MS, 2 * HOUR_MS]);
    await flush(HASH, 4 * HOUR_MS, after);
    expect(frontiersOf((await load()).rows)).toEqual([4 * HOUR_MS, 4 * HOUR_MS]);
  });

  test('leaves out spans that ended long before, unless nothing sees them, or the schedule is behind', async () => {
    const dayMs = 24 * HOUR_MS;
    await flush(PROJECT, 3 * dayMs, before);
    expect((await load()).rows.map(({ span }) => span)).toEqual([2]);
    const behind = { schedule, throughMs: 1_000, settledAbove: [{ after: 5_000, through: 9_000 }] };
    await flush(PROJECT, 3 * dayMs, before, { laggards: [behind] });
    const { rows, watermarks } = await load(byProject);
    expect(rows.map(({ span }) => span)).toEqual([1, 2]);
    expect(watermarks.laggards).toEqual(
      new Map([[schedule, { throughMs: 1_000, settledAbove: behind.settledAbove }]]),
    );
  });

  test('is told of a shard by the frontiers of its own units', async () => {
    await flush(HASH, HOUR_MS, before);
    await flush(PROJECT, 2 * HOUR_MS, after);
    const all = await load();
    expect(all.watermarks).toMatchObject({
      frontiers: new Map([[HASH_SLOT, HOUR_MS]]),
      furthestMs: 2 * HOUR_MS,
      feedSnapshot: after,
    });
    expect((await load(byProject)).watermarks.frontiers).toEqual(new Map([['shop', 2 * HOUR_MS]]));
  });
});
