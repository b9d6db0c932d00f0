import { useDatabase } from '@carillon/db/test/database.ts';
import { SchedulerService } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

const database = useDatabase();
const PROJECTS = ['shop', 'billing', 'research'];
const PER_PROJECT = 8;
const target = new JournalTarget();

type App = Awaited<ReturnType<typeof startScheduler>>;

const leads = (app: App): number => app.shards.schedulers.filter(({ state }) => state === 'LEADING').length;
const ledBy = (...apps: App[]): number[] => apps.map(leads);
const operator = (app: App) =>
  createClient(SchedulerService, createConnectTransport({ baseUrl: app.url, httpVersion: '1.1' }));

function start(instance: string, version: number, shards: string, sharding = 'hash'): Promise<App> {
  return startScheduler(database.url, target, instance, {
    CARILLON_SHARDING: sharding,
    CARILLON_SHARDS: shards,
    CARILLON_SHARDING_VERSION: String(version),
  });
}

/** Each schedule has fired at each second since its first one, and nothing else. */
function expectEverySecond(): void {
  for (const project of PROJECTS) {
    for (let i = 0; i < PER_PROJECT; i++) {
      const secs = target.nominalSecs(`${project}-${i}`);
      expect(secs.length).toBeGreaterThan(0);
      expect(secs).toEqual(secs.map((_, index) => secs[0]! + index));
    }
  }
}

/** Waits until every schedule has fired at a time from now on. */
async function allFire(): Promise<void> {
  const nowSec = Math.ceil(Date.now() / 1000);
  const names = PROJECTS.flatMap((project) =>
    Array.from({ length: PER_PROJECT }, (_, i) => `${project}-${i}`),
  );
  await until(() => names.every((name) => (target.nominalSecs(name).at(-1) ?? 0) >= nowSec));
}

describe('shards', () => {
  beforeAll(async () => {
    await using schedules = await startSchedules(database.url);
    const rate = { case: 'rate', value: { interval: { seconds: 1n } } } as const;
    for (const project of PROJECTS) {
      for (let i = 0; i < PER_PROJECT; i++) {
        await schedules.client.createSchedule({
          parent: `projects/${project}/domains/test`,
          scheduleId: `${project}-${i}`,
          schedule: { spec: { pattern: rate, run: { task: 'test.shard' } } },
        });
      }
    }
  });
  afterAll(() => {
    expectEverySecond();
  });

  test('are evened out over the replicas that live, and nothing is lost or doubled while they move', async () => {
    await using a = await start('a', 1, '4');
    await until(() => leads(a) === 4);
    await allFire();
    {
      await using b = await start('b', 1, '4');
      await until(() => leads(a) === 2 && leads(b) === 2);
      await allFire();
      await using c = await start('c', 1, '4');
      await until(() => ledBy(a, b, c).sort().join() === '1,1,2');
      await allFire();
      const { assignment, leaders, replicas } = await operator(a).getStatus({});
      expect(assignment?.shards.map(({ name }) => name)).toEqual(['hash-0', 'hash-1', 'hash-2', 'hash-3']);
      expect(new Set(assignment?.shards.map(({ leader }) => leader))).toEqual(new Set(['a', 'b', 'c']));
      expect(leaders.map(({ shard }) => shard)).toEqual(
        replicas.find(({ instance }) => instance === 'a')?.shards,
      );
      await b.release();
      await c.release();
    }
    await until(() => leads(a) === 4);
    await allFire();
    await a.release();
  });

  test('go over to a new version, whoever sets it, and never back', async () => {
    await using a = await start('a', 1, '4');
    await until(() => leads(a) === 4);
    await using b = await start('b', 2, 'shop;billing;*', 'project');
    await until(() => leads(a) + leads(b) === 3 && a.shards.assignment.version === 2);
    await allFire();
    expect(a.shards.schedulers.map(({ shard }) => shard)).toEqual([
      'project-shop',
      'project-billing',
      'project-*',
    ]);
    // An old one that is started again follows.
    await using c = await start('c', 1, '4');
    expect(c.shards.assignment.version).toBe(2);
    await using d = await start('d', 3, '3');
    await until(
      () => ledBy(a, b, c, d).join() === '1,1,1,0' || ledBy(a, b, c, d).sort().join() === '0,1,1,1',
    );
    await allFire();
    for (const app of [a, b, c, d]) expect(app.shards.assignment.version).toBe(3);
    for (const app of [a, b, c, d]) await app.release();
  });

  test('are refused under a version that others have', async () => {
    await expect(start('e', 3, '5')).rejects.toThrow(
      'version 3 of the sharding is set already, as 3 shards by hash: to set 5 shards by hash, raise CARILLON_SHARDING_VERSION',
    );
  });

  test('that are handed over do not come back while another replica lives', async () => {
    await using a = await start('a', 4, '4');
    await until(() => leads(a) === 4);
    await using b = await start('b', 4, '4');
    await until(() => leads(a) === 2 && leads(b) === 2);
    const { shards } = await operator(a).handOver({});
    expect(shards.map(({ leader }) => leader)).toEqual(['b', 'b']);
    await allFire();
    await allFire();
    expect(ledBy(a, b)).toEqual([0, 4]);
    await b.release();
    await until(() => leads(a) === 4);
    await allFire();
    await a.release();
  });

  test('are set again when the database has lost their version', async () => {
    await using a = await start('a', 5, '2');
    await until(() => leads(a) === 2);
    // As a standby that was promoted before it had got them.
    await database.pool.query(
      `with gone as (delete from scheduler_assignments where version = 5)
      update scheduler_assignment_in_force set version = 4`,
    );
    await until(async () => {
      const { rows } = await database.pool.query('select version from scheduler_assignment_in_force');
      return rows[0]?.version === 5;
    });
    await until(() => leads(a) === 2);
    await allFire();
    await a.release();
  });
});
