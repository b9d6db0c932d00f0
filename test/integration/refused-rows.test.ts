import { useDatabase } from '@carillon/db/test/database.ts';
import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/poison/domains/test';

function everySecond(task: string) {
  const rate = { case: 'rate', value: { interval: { seconds: 1n } } } as const;
  return { spec: { pattern: rate, run: { task } } };
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(new URL('/metrics', url))).text();
  return Number(new RegExp(`^carillon_scheduler_${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

test('a schedule whose outcomes the database refuses is quarantined, delays nobody, and goes on where it stood once it changes', async () => {
  const target = new JournalTarget();
  target.refuse = ({ schedule }) =>
    schedule.endsWith('/bad')
      ? {
          refused: {
            code: Code.NotFound,
            message: 'there is no such task',
            reason: 'TASK_NOT_FOUND',
            project: undefined,
            existing: undefined,
          },
        }
      : undefined;
  await using schedules = await startSchedules(database.url);
  const { schedule: bad } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'bad',
    schedule: everySecond('test.bad'),
  });
  const { schedule: good } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'good',
    schedule: everySecond('test.good'),
  });
  const { rows } = await database.pool.query<{ id: string }>(
    'select id::text as id from schedules where uid = $1',
    [bad!.uid],
  );
  const id = Number(rows[0]!.id);
  await database.pool.query(`alter table slot_ledger add constraint refuses check (schedule <> ${id})`);
  await using app = await startScheduler(database.url, target, 'refused');
  const term = await until(() => app.shards.terms[0]);

  await until(() => term.engine.isRefused(id), 20_000);
  await until(
    async () =>
      (await schedules.client.getSchedule({ name: bad!.name })).schedule!.status!.quarantineReason !== '',
  );
  const { schedule: shown } = await schedules.client.getSchedule({ name: bad!.name });
  expect(shown!.status!.quarantineReason).toMatch(/cannot be stored: .*refuses/);
  expect(await metric(app.url, 'quarantined_schedules')).toBe(1);
  expect(await metric(app.url, 'refused_ledger_rows_total')).toBeGreaterThan(0);

  // The frontier goes on without it; what is stored of it stands.
  const before = term.watermarks.frontierMs;
  const count = target.nominalSecs('good').length;
  await until(() => term.watermarks.frontierMs > before + 3_000);
  await until(() => target.nominalSecs('good').length >= count + 3);
  const laggard = async () =>
    (
      await database.pool.query<{ through: number }>(
        'select (extract(epoch from due_through) * 1000)::float8 as through from scheduler_laggards where schedule = $1',
        [id],
      )
    ).rows[0]!.through;
  const stands = await laggard();
  expect(stands).toBeLessThan(before);

  await database.pool.query('alter table slot_ledger drop constraint refuses');
  await schedules.client.updateSchedule({
    schedule: { name: bad!.name, description: 'repaired' },
    updateMask: { paths: ['description'] },
  });
  await until(() => !term.engine.isRefused(id));
  await until(async () => (await laggard()) > stands + 8_000, 40_000);
  const { schedule: repaired } = await schedules.client.getSchedule({ name: bad!.name });
  expect(repaired!.status!.quarantineReason).toBe('');
  // Every slot of it has its outcome, from the first one on.
  const { rows: outcomes } = await database.pool.query<{ sec: number }>(
    `select extract(epoch from nominal_time)::float8 as sec from slot_ledger
    where schedule = $1 and outcome = 'DEAD' order by nominal_time`,
    [id],
  );
  const [first] = outcomes;
  expect(outcomes.map(({ sec }) => sec)).toEqual(outcomes.map((_, index) => first!.sec + index));
  expect(first!.sec * 1000).toBeLessThanOrEqual(
    Math.max(stands, target.nominalSecs('good')[0]! * 1000) + 1_000,
  );
  expect(target.nominalSecs('good')).toEqual(
    target.nominalSecs('good').map((_, index) => target.nominalSecs('good')[0]! + index),
  );
  expect(good!.name).toContain('good');
});
