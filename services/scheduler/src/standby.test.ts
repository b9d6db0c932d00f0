import { hashAssignment, SINGLE_SHARD } from '@carillon/core/assignment.ts';
import { createLogger, systemClock } from '@carillon/server';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { DatabaseClock } from './database-clock.ts';
import { SchedulerMetrics } from './metrics.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import { Standby } from './standby.ts';
import { TimingCache } from './timing-cache.ts';

test('a take-over that cannot load everything says why, and does not try for ever', async () => {
  let loads = 0;
  const store: Partial<SchedulerStore> = {
    async readAllSchedules() {
      loads++;
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error('watermarks of a format that nobody knows');
    },
  };
  const standby = new Standby({
    store: store as SchedulerStore,
    clock: systemClock,
    databaseClock: new DatabaseClock(systemClock),
    logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
    metrics: new SchedulerMetrics(new Registry(), () => {
      throw new Error('nobody asks for the gauges');
    }),
    timings: new TimingCache(),
    assignment: hashAssignment(1, 1),
    shard: SINGLE_SHARD,
  });
  const belonging = {
    unitOf: ({ hashSlot }: { hashSlot: number }) => hashSlot,
    liveOf: () => [],
    quarantinedOf: () => [],
  };

  await expect(standby.takeOver(belonging, 'one/00000001')).rejects.toThrow('a format that nobody knows');
  expect(loads).toBe(1);
});
