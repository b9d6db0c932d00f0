import { useDatabase } from '@carillon/db/test/database.ts';
import { expect, test } from 'vitest';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { sleep, until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/feed/domains/test';

function hourly(minute: number) {
  const cron = { expression: `${minute} * * * *` };
  return { spec: { pattern: { case: 'cron', value: cron }, run: { task: 'test.feed' } } } as const;
}

test('a change is armed within milliseconds of its acknowledgement', async () => {
  await using schedules = await startSchedules(database.url);
  await using app = await startScheduler(database.url, new JournalTarget(), 'armed');
  const engine = (await until(() => app.shards.terms[0])).engine;
  const before = engine.streamSize;
  const { schedule } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'armed',
    schedule: hourly(5),
  });
  await until(() => engine.streamSize === before + 1, 1_000);
  await schedules.client.pauseSchedule({ name: schedule!.name, reason: 'a test' });
  await until(() => engine.streamSize === before, 1_000);
  await schedules.client.unpauseSchedule({ name: schedule!.name });
  await until(() => engine.streamSize === before + 1, 1_000);
});

test('transactions that commit late are not lost, however many have overtaken them', async () => {
  await using schedules = await startSchedules(database.url);
  await using app = await startScheduler(database.url, new JournalTarget(), 'late');
  const engine = (await until(() => app.shards.terms[0])).engine;
  const names: string[] = [];
  for (let i = 0; i < 20; i++) {
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: `late-${i}`,
      schedule: hourly(i),
    });
    names.push(schedule!.name);
  }
  const ids = new Map<string, number>();
  const { rows } = await database.pool.query<{ id: string; schedule_id: string }>(
    `select id::text as id, schedule_id from schedules where schedule_id like 'late-%'`,
  );
  for (const row of rows) ids.set(row.schedule_id, Number(row.id));
  const generationOf = (schedule: string): number =>
    engine.schedules.generation[engine.schedules.find(ids.get(schedule)!)!]!;
  await until(
    () =>
      ids.size === 20 &&
      [...ids.keys()].every((schedule) => engine.schedules.find(ids.get(schedule)!) !== undefined),
  );

  // Each writer holds its transaction id for a while before it commits, and in another order than it began.
  await Promise.all(
    [...ids.keys()].map(async (schedule, index) => {
      const client = await database.pool.connect();
      try {
        await client.query('begin');
        await client.query(
          'update schedules set generation = generation + 1, xid = pg_current_xact_id() where schedule_id = $1',
          [schedule],
        );
        await sleep(((index * 7) % 20) * 60);
        await client.query('commit');
      } finally {
        client.release();
      }
    }),
  );

  // The poll of each second is the only hint: nothing was announced.
  await until(() => [...ids.keys()].every((schedule) => generationOf(schedule) === 2), 5_000);
});

test('a full comparison finds nothing that the feed has not', async () => {
  await using schedules = await startSchedules(database.url);
  await using app = await startScheduler(database.url, new JournalTarget(), 'compare');
  const term = await until(() => app.shards.terms[0]);
  const { schedule } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'compared',
    schedule: hourly(1),
  });
  const { rows } = await database.pool.query<{ id: string }>(
    'select id::text as id from schedules where uid = $1',
    [schedule!.uid],
  );
  await until(() => term.engine.schedules.find(Number(rows[0]!.id)) !== undefined, 2_000);
  const before = term.engine.streamSize;
  await term.feed.compareAll();
  expect(term.engine.streamSize).toBe(before);
});

test('a corrupt row is quarantined and reported on its schedule, and the others go on', async () => {
  const target = new JournalTarget();
  await using schedules = await startSchedules(database.url);
  const { schedule: poison } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'poison',
    schedule: hourly(2),
  });
  // Revisions never change, so only somebody with the owner's rights can spoil one.
  await database.pool.query('alter table schedule_revisions disable trigger schedule_revisions_immutable');
  await database.pool.query(
    `update schedule_revisions set timing = '\\xffffffff' where schedule = (select id from schedules where uid = $1)`,
    [poison!.uid],
  );
  await database.pool.query('alter table schedule_revisions enable trigger schedule_revisions_immutable');
  await using app = await startScheduler(database.url, target, 'poisoned');
  const term = await until(() => app.shards.terms[0]);
  expect(term.engine.quarantinedSize).toBe(1);
  await schedules.client.createSchedule({
    parent,
    scheduleId: 'healthy',
    schedule: {
      spec: { pattern: { case: 'rate', value: { interval: { seconds: 1n } } }, run: { task: 'test.feed' } },
    },
  });
  await target.reached(2);
  const { rows } = await database.pool.query<{ reason: string }>('select reason from schedule_quarantines');
  expect(rows).toHaveLength(1);
  expect(rows[0]!.reason).toMatch(/^revision 1: /);
});
