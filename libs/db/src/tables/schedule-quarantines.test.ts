import { hashAssignment, SINGLE_SHARD, scopeOf } from '@carillon/core/assignment.ts';
import { beforeEach, expect, test } from 'vitest';
import { useDatabase } from '../test/database.ts';
import {
  deleteOldQuarantines,
  liftOtherQuarantines,
  liftQuarantines,
  type Quarantine,
  readQuarantinedTimes,
  writeQuarantines,
} from './schedule-quarantines.ts';

const database = useDatabase();
const EVERYTHING = scopeOf(hashAssignment(1, 1), SINGLE_SHARD);
const HOUR_MS = 3_600_000;

beforeEach(async () => {
  await database.pool.query('truncate schedule_quarantines, schedule_ended_quarantines');
});

function quarantine(schedule: number, changes: Partial<Quarantine> = {}): Quarantine {
  return { schedule, generation: 1, reason: 'unknown zone', throughSpan: 3, ...changes };
}

const times = () => readQuarantinedTimes(database.pool, EVERYTHING, HOUR_MS);

/** Lets all of it have happened so much earlier. */
async function age(hours: number): Promise<void> {
  await database.pool.query(`update schedule_quarantines set since = since - $1 * interval '1 hour'`, [
    hours,
  ]);
  await database.pool.query(
    `update schedule_ended_quarantines set from_time = from_time - $1 * interval '1 hour', to_time = to_time - $1 * interval '1 hour'`,
    [hours],
  );
}

test('a quarantine is known by its time while it lasts, and when it was lifted', async () => {
  const { pool } = database;
  await writeQuarantines(pool, [quarantine(1), quarantine(2, { throughSpan: undefined })]);
  await age(2);
  // What is known of it may change; since when it was does not.
  await writeQuarantines(pool, [quarantine(1, { generation: 2, reason: 'still unknown' })]);
  const open = await times();
  expect(open).toMatchObject([
    { schedule: 1, throughSpan: 3 },
    { schedule: 2, throughSpan: null },
  ]);
  for (const { fromMs, toMs } of open) expect(toMs - fromMs).toBeGreaterThanOrEqual(2 * HOUR_MS);

  await liftQuarantines(pool, [1]);
  await liftOtherQuarantines(pool, EVERYTHING, [1]);
  const { rows } = await pool.query('select from schedule_quarantines');
  expect(rows).toEqual([]);
  const ended = await times();
  expect(ended.map(({ schedule, fromMs, throughSpan }) => [schedule, fromMs, throughSpan])).toEqual(
    open.map(({ schedule, fromMs, throughSpan }) => [schedule, fromMs, throughSpan]),
  );

  await writeQuarantines(pool, [quarantine(1)]);
  expect((await times()).map(({ schedule }) => schedule)).toEqual([1, 1, 2]);
});

test('one that ended before the window is not read, and can be deleted', async () => {
  const { pool } = database;
  await writeQuarantines(pool, [quarantine(1), quarantine(2)]);
  await liftQuarantines(pool, [1]);
  await age(2);
  expect((await times()).map(({ schedule }) => schedule)).toEqual([2]);
  expect(await deleteOldQuarantines(pool, HOUR_MS)).toBe(1);
  expect(await deleteOldQuarantines(pool, HOUR_MS)).toBe(0);
});
