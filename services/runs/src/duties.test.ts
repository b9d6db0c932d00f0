import { createDatabase } from '@carillon/db';
import { addDays, dailyPartitions, databaseDay } from '@carillon/db/partitions.ts';
import type { RunTables } from '@carillon/db/tables/runs.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { createLogger } from '@carillon/server';
import { beforeAll, expect, test } from 'vitest';
import { enforceRetention } from './duties.ts';
import { adHoc, nameOf, refusal, startRuns, stored, wholeSecond } from './service-under-test.ts';

const database = useDatabase();
const logger = createLogger({ service: 'runs', instance: 'test', level: 'silent' });
let today: string;

beforeAll(async () => {
  today = await databaseDay(createDatabase(database.pool));
});

async function placeOf(runId: string): Promise<string | undefined> {
  const { rows } = await database.pool.query<{ place: string }>(
    'select tableoid::regclass::text as place from runs where run_id = $1',
    [runId],
  );
  return rows[0]?.place;
}

test('a service that starts makes the partitions of yesterday, today and the coming days', async () => {
  await using service = await startRuns(database);
  const days = await dailyPartitions(createDatabase(database.pool), { table: 'runs' });
  expect(days).toEqual(Array.from({ length: 9 }, (_, index) => addDays(today, index - 1)));
  const request = adHoc();
  await service.runs.createRun(request);
  expect(await placeOf(request.runId)).toBe(`runs_${today.replaceAll('-', '')}`);
});

test('a run of a day without a partition is kept, found, and moved when there is one', async () => {
  const request = adHoc({ nominalTime: wholeSecond(3) });
  const day = addDays(today, -3);
  {
    await using service = await startRuns(database);
    await service.runs.createRun(request);
    expect(await placeOf(request.runId)).toBe('runs_default');
    expect((await service.runs.getRun({ name: nameOf(request) })).run?.name).toBe(nameOf(request));
    await database.pool.query(`drop table runs_${today.replaceAll('-', '')}`);
    const late = adHoc();
    await service.runs.createRun(late);
    expect(await placeOf(late.runId)).toBe('runs_default');
    await using again = await startRuns(database, { instance: 'test-2' });
    expect(await placeOf(late.runId)).toBe(`runs_${today.replaceAll('-', '')}`);
    expect((await refusal(again.runs.createRun(late))).rawMessage).toContain('exists');
  }
  expect(day < today).toBe(true);
});

test('runs that are created while a partition is being made are neither lost nor refused', async () => {
  await using service = await startRuns(database);
  const requests = Array.from({ length: 200 }, () => adHoc());
  await database.pool.query(`drop table runs_${today.replaceAll('-', '')}`);
  const creations = Promise.all(requests.map((request) => service.runs.createRun(request)));
  const second = startRuns(database, { instance: 'test-2' });
  await creations;
  await (await second)[Symbol.asyncDispose]();
  const { rows } = await database.pool.query<{ n: number }>(
    'select count(*)::int as n from runs where run_id = any($1)',
    [requests.map(({ runId }) => runId)],
  );
  expect(rows[0]?.n).toBe(200);
});

test('retention drops what is older, with names and partitions, and nothing younger', async () => {
  await using service = await startRuns(database, { retentionDays: 30 });
  const [kept, old] = [adHoc({ nominalTime: wholeSecond(29) }), adHoc({ nominalTime: wholeSecond(25) })];
  await service.runs.createRun(kept);
  await service.runs.createRun(old);
  const db = createDatabase<RunTables>(database.pool);
  await enforceRetention({ db, logger, retentionDays: 30 });
  expect(await stored(database.pool, nameOf(old))).toBeDefined();
  await enforceRetention({ db, logger, retentionDays: 26 });
  expect(await stored(database.pool, nameOf(kept))).toBeUndefined();
  expect(await stored(database.pool, nameOf(old))).toBeDefined();
  const { rows } = await database.pool.query('select run_id from run_names where run_id = any($1)', [
    [kept.runId, old.runId],
  ]);
  expect(rows).toEqual([{ run_id: old.runId }]);
  // Days before yesterday that have a partition go with it.
  await enforceRetention({ db, logger, retentionDays: -1 });
  expect((await dailyPartitions(db, { table: 'runs' }))[0]).toBe(today);
});
