import { hashAssignment, SINGLE_SHARD } from '@carillon/core/assignment.ts';
import { createPool } from '@carillon/db';
import { setAssignment } from '@carillon/db/tables/scheduler-assignments.ts';
import { Engine } from '@carillon/scheduler/engine.ts';
import { ChangeFeed } from '@carillon/scheduler/feed.ts';
import { SchedulerMetrics } from '@carillon/scheduler/metrics.ts';
import { createPostgresStore } from '@carillon/scheduler/postgres-store.ts';
import { TimingCache } from '@carillon/scheduler/timing-cache.ts';
import { createLogger, systemClock } from '@carillon/server';
import { Registry } from 'prom-client';
import { afterAll, expect, test } from 'vitest';
import { DatabaseServer } from '../support/database-server.ts';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

// What an aborted transaction leaves behind is not flushed by the way.
const server = await DatabaseServer.start({ settings: { wal_writer_delay: '10000' } });
afterAll(() => server.remove());

const parent = 'projects/gone/domains/test';

function everySecond(task: string) {
  const rate = { case: 'rate', value: { interval: { seconds: 1n } } } as const;
  return { spec: { pattern: rate, run: { task } } };
}

function hourly(minute: number) {
  const cron = { expression: `${minute} * * * *` };
  return { spec: { pattern: { case: 'cron', value: cron }, run: { task: 'test.gone' } } } as const;
}

test('after a crash, ids that are handed out again hide no change, before any listener has noticed', async () => {
  await using schedules = await startSchedules(server.url);
  const onError = (): undefined => undefined;
  const pool = createPool({ url: server.url, applicationName: 'test', onError, max: 2 });
  try {
    const assignment = hashAssignment(1, 1);
    await setAssignment(pool, assignment);
    const store = createPostgresStore({
      pool,
      feedPool: pool,
      assignment,
      history: [assignment],
      shard: SINGLE_SHARD,
      owner: 'test',
      leaseTtlMs: 10_000,
    });
    const grant = (await store.acquireLease([]))!;
    const engine = new Engine([], { writeOff: () => undefined });
    const uncertain: string[] = [];
    const feed = new ChangeFeed(
      {
        store,
        engine,
        timings: new TimingCache(),
        clock: systemClock,
        metrics: new SchedulerMetrics(new Registry(), () => {
          throw new Error('nobody asks for the gauges');
        }),
        logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
      },
      {
        belonging: { unitOf: ({ hashSlot }) => hashSlot, liveOf: () => [], quarantinedOf: () => [] },
        onUncertain: (reason) => uncertain.push(reason),
        onApplying: () => undefined,
        onApplied: () => undefined,
      },
    );
    await schedules.client.createSchedule({ parent, scheduleId: 'one', schedule: hourly(1) });
    await feed.load();
    const flush = (number: number) =>
      store.flush({
        shard: SINGLE_SHARD,
        owner: 'test',
        epoch: grant.epoch,
        number,
        lineage: grant.lineage,
        format: 1,
        strategy: 'hash',
        units: [1],
        throughMs: [Date.now()],
        feedSnapshot: feed.position!.snapshot,
        feedSession: feed.position!.server.session,
        laggards: [],
        caughtUp: [],
        ledger: [],
      });
    expect(await flush(1)).toBe('WRITTEN');
    feed.committed(feed.position!.snapshot);

    const client = await pool.connect();
    for (let i = 0; i < 20; i++) {
      await client.query('begin');
      await client.query('select pg_current_xact_id()');
      await client.query('rollback');
    }
    client.release();
    await feed.poll();
    const seen = BigInt(feed.position!.snapshot.split(':')[1]!);
    await server.kill();
    await server.restart();

    const { schedule } = await schedules.client
      .createSchedule({ parent, scheduleId: 'two', schedule: hourly(2) })
      .catch(() => schedules.client.createSchedule({ parent, scheduleId: 'two', schedule: hourly(2) }));
    const { rows } = await pool
      .query<{ id: string; xid: string }>('select id::text, xid::text from schedules where uid = $1', [
        schedule!.uid,
      ])
      .catch(() => pool.query('select id::text, xid::text from schedules where uid = $1', [schedule!.uid]));
    // Otherwise this shows nothing.
    expect(BigInt(rows[0]!.xid)).toBeLessThan(seen);

    // What was read before the crash cannot be written down any more.
    expect(await flush(2)).toBe('UNPROVEN');
    await until(() =>
      feed.poll().then(
        () => true,
        () => false,
      ),
    );
    expect(engine.schedules.find(Number(rows[0]!.id))).toBeDefined();
    expect(await flush(3)).toBe('WRITTEN');
    expect(uncertain).toEqual([]);
  } finally {
    await pool.end();
  }
});

test('a database that has lost commits is loaded anew: what it has not stored is sent again, and what it lost is told', async () => {
  const target = new JournalTarget();
  await using schedules = await startSchedules(server.url);
  await using app = await startScheduler(server.url, target, 'restored');
  const again = async <T>(work: () => Promise<T>): Promise<T> =>
    await until(() => work().catch(() => undefined));
  const { schedule: kept } = await again(() =>
    schedules.client.createSchedule({ parent, scheduleId: 'kept', schedule: everySecond('test.kept') }),
  );
  await target.reached(3);
  await server.backUp();
  const backedUp = new Set(target.runs.keys());

  // Nothing of this will have happened.
  await again(() =>
    schedules.client.updateSchedule({
      schedule: { name: kept!.name, ...everySecond('test.edited') },
      updateMask: { paths: ['spec'] },
    }),
  );
  const lost = await again(() =>
    schedules.client.createSchedule({ parent, scheduleId: 'lost', schedule: everySecond('test.lost') }),
  );
  await until(() => target.nominalSecs('lost').length >= 3);
  const before = app.shards.terms[0]!;
  await server.restore();
  // The runs that were made since are gone with it.
  for (const name of [...target.runs.keys()]) if (!backedUp.has(name)) target.runs.delete(name);

  const after = await until(() => app.shards.terms[0] !== before && app.shards.terms[0]);
  expect(after.lease.lineage).not.toBe(before.lease.lineage);
  // The terms that this database knows of may have gone on for longer.
  expect([before.lease.isOtherDatabase, after.lease.isOtherDatabase]).toEqual([false, true]);
  expect(lost.schedule!.uid).not.toBe('');
  await until(async () => {
    const metrics = await (await fetch(new URL('/metrics', app.url))).text();
    return (
      /^carillon_scheduler_database_changes_total 1$/m.test(metrics) &&
      /^carillon_scheduler_lost_changes_total 2$/m.test(metrics)
    );
  });
  const restoredAtSec = Math.ceil(Date.now() / 1000);
  await until(() => target.nominalSecs('kept').at(-1)! > restoredAtSec + 1);
  const fired = target.nominalSecs('kept');
  expect(fired).toEqual(Array.from({ length: fired.length }, (_, index) => fired[0]! + index));
  expect(
    [...target.runs.values()].filter((run) => run.schedule === kept!.name).at(-1)!.request.spec!.task,
  ).toBe('test.kept');
  expect(target.nominalSecs('lost')).toEqual([]);
});
