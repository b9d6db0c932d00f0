import { fromBinary } from '@bufbuild/protobuf';
import { lastLook } from '@carillon/db/tables/last-look.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { expect, test } from 'vitest';
import { startSchedules } from '../support/services.ts';

const database = useDatabase();
const parent = 'projects/look/domains/test';

function everyHour(task: string) {
  return {
    spec: { pattern: { case: 'rate', value: { interval: { seconds: 3600n } } }, run: { task } },
  } as const;
}

async function databaseNowMs(): Promise<number> {
  const { rows } = await database.pool.query<{ now: number }>(
    'select (extract(epoch from clock_timestamp()) * 1000)::float8 as now',
  );
  return rows[0]?.now ?? Number.NaN;
}

async function idOf(scheduleId: string): Promise<number> {
  const { rows } = await database.pool.query<{ id: number }>(
    'select id::float8 as id from schedules where schedule_id = $1',
    [scheduleId],
  );
  return rows[0]?.id ?? Number.NaN;
}

test('each slot has the revision that held its time, and the stop that came after it', async () => {
  await using schedules = await startSchedules(database.url);
  const { client } = schedules;
  const beforeMs = await databaseNowMs();
  const { schedule } = await client.createSchedule({
    parent,
    scheduleId: 'edited',
    schedule: everyHour('first'),
  });
  const firstMs = await databaseNowMs();
  await client.updateSchedule({ schedule: { name: schedule!.name, ...everyHour('second') } });
  const secondMs = await databaseNowMs();
  await client.pauseSchedule({ name: schedule!.name, reason: 'a test' });
  const pausedMs = await databaseNowMs();
  await client.createSchedule({ parent, scheduleId: 'other', schedule: everyHour('third') });
  const otherMs = await databaseNowMs();
  const [edited, other] = [await idOf('edited'), await idOf('other')];

  const slot = (id: number, nominalMs: number, stopsFromMs?: number) => ({
    schedule: id,
    revision: 1,
    nominalMs,
    stopsFromMs,
  });
  const looks = await lastLook(database.pool, [
    slot(other, otherMs),
    slot(edited, secondMs),
    slot(2 ** 40, secondMs),
    slot(edited, beforeMs),
    slot(edited, firstMs),
    slot(edited, pausedMs),
    slot(edited, firstMs, pausedMs),
  ]);

  await expect(lastLook(database.pool, [slot(other, otherMs)], 'another/00000001')).rejects.toThrow(
    'the lease was granted by the database another/00000001',
  );
  const told = looks.map((look) =>
    look === undefined
      ? undefined
      : [
          look.scheduleId,
          look.revision,
          look.run === null ? null : fromBinary(RunSpecSchema, look.run).task,
          look.stop,
        ],
  );
  expect(told).toEqual([
    ['other', 1, 'third', null],
    ['edited', 2, 'second', 'PAUSED'],
    undefined,
    ['edited', null, null, 'PAUSED'],
    ['edited', 1, 'first', 'PAUSED'],
    ['edited', null, null, null],
    // A stop before the redrive was asked for is none of its business.
    ['edited', 1, 'first', null],
  ]);
  expect(looks[0]).toMatchObject({
    project: 'look',
    domain: 'test',
    uid: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  expect(looks[0]?.databaseNowMs).toBeGreaterThanOrEqual(otherMs);
  expect(looks[0]?.databaseNowMs).toBeLessThanOrEqual(await databaseNowMs());
});
