import { hashAssignment, SINGLE_SHARD } from '@carillon/core/assignment.ts';
import { TokenBucket } from '@carillon/core/token-bucket.ts';
import { createPool } from '@carillon/db';
import { setAssignment } from '@carillon/db/tables/scheduler-assignments.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { DatabaseClock } from '@carillon/scheduler/database-clock.ts';
import { Leadership } from '@carillon/scheduler/leadership.ts';
import { SchedulerMetrics } from '@carillon/scheduler/metrics.ts';
import { createPostgresStore } from '@carillon/scheduler/postgres-store.ts';
import { Scheduler } from '@carillon/scheduler/scheduler.ts';
import { Share } from '@carillon/scheduler/share.ts';
import { TimingCache } from '@carillon/scheduler/timing-cache.ts';
import { createLogger, systemClock, systemEntropy } from '@carillon/server';
import type pg from 'pg';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { JournalTarget } from '../support/journal-target.ts';
import { startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/unready/domains/test';

/** A scheduler of the only shard; one that cannot read the schedules, if it is told so. */
function scheduler(pool: pg.Pool, owner: string, target: JournalTarget, canLoad: boolean): Scheduler {
  const assignment = hashAssignment(1, 1);
  const databaseClock = new DatabaseClock(systemClock);
  const logger = createLogger({ service: 'scheduler', instance: owner, level: 'fatal' });
  const store = createPostgresStore({
    pool,
    feedPool: pool,
    assignment,
    history: [assignment],
    shard: SINGLE_SHARD,
    owner,
    leaseTtlMs: 2_000,
  });
  const broken = {
    readAllSchedules: async () => {
      throw new Error('the schedules cannot be read here');
    },
  };
  const leadership = new Leadership({
    store,
    clock: systemClock,
    databaseClock,
    logger,
    owner,
    leaseTtlMs: 2_000,
    leaseMarginMs: 200,
    standbyPollMs: 100,
    share: new Share(),
  });
  return new Scheduler({
    store: canLoad ? store : { ...store, ...broken },
    clock: systemClock,
    entropy: systemEntropy,
    databaseClock,
    logger,
    metrics: new SchedulerMetrics(new Registry(), () => {
      throw new Error('nobody asks for the gauges');
    }),
    leadership,
    target,
    bucket: new TokenBucket(systemClock, { ratePerSecond: Number.POSITIVE_INFINITY, burst: 500 }),
    breaker: { state: 'closed', call: (call) => call(), close: () => undefined },
    assignment,
    history: [assignment],
    shard: SINGLE_SHARD,
    owner,
    nameScheme: 'carillon',
    timings: new TimingCache(),
    limits: {
      maxBatch: 500,
      maxBatchBytes: 1_000_000,
      maxCalls: 4,
      maxOutstanding: 1_000,
      callTimeoutMs: 1_000,
      catchUpRunsPerSecond: 100,
      rampUpMs: 1,
    },
  });
}

test('a replica that cannot load leaves the lease to those that can', { timeout: 30_000 }, async () => {
  await using schedules = await startSchedules(database.url);
  const pool = createPool({ url: database.url, applicationName: 'test', onError: () => undefined, max: 6 });
  await setAssignment(pool, hashAssignment(1, 1));
  const target = new JournalTarget();
  const bad = scheduler(pool, 'bad', target, false);
  const good = scheduler(pool, 'good', target, true);
  try {
    await schedules.client.createSchedule({
      parent,
      scheduleId: 'bell',
      schedule: {
        spec: { pattern: { case: 'rate', value: { interval: { seconds: 1n } } }, run: { task: 'test.bell' } },
      },
    });
    // Nobody leads: it finds the lease free, and has to give it back.
    bad.start();
    await until(async () => (await owners(pool)).length > 0, 5_000);
    good.start();
    await until(() => good.term, 5_000);
    // It stands by, and is not ready: it never takes a lease that is released.
    const epoch = good.term?.lease.epoch;
    expect(bad.state).toBe('STARTING');
    await good.handOver(1_000);
    await until(() => (good.term?.lease.epoch ?? 0) > (epoch ?? 0), 10_000);
    expect(bad.term).toBeUndefined();
    const { rows } = await pool.query<{ terms: number }>(
      "select count(*)::int as terms from scheduler_terms where owner = 'bad'",
    );
    expect(rows).toEqual([{ terms: 1 }]);
  } finally {
    bad.abandon();
    good.abandon();
    await Promise.all([bad.ended(), good.ended()]);
    await pool.end();
  }
});

async function owners(pool: pg.Pool): Promise<unknown[]> {
  const { rows } = await pool.query("select from scheduler_terms where owner = 'bad'");
  return rows;
}
