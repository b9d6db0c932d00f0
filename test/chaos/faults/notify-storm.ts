import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { SCHEDULES_CHANNEL } from '@carillon/db/tables/schedules.ts';
import pg from 'pg';
import type { Fault } from '../fault.ts';

const NOTIFIES = 50_000;
const MOST_GROWTH_MB = 150;

export const notifyStorm: Fault = {
  name: 'notify-storm',
  numbers: [20],
  story: '50,000 notifications in a burst, beside a listener that is idle in a transaction.',
  async run(scenario) {
    const { database, stack } = scenario;
    await scenario.ringing();
    const idler = new pg.Client({ connectionString: database.url });
    await idler.connect();
    const stormer = new pg.Client({ connectionString: database.url });
    await stormer.connect();
    try {
      await idler.query(`listen ${SCHEDULES_CHANNEL}`);
      await idler.query('begin; select 1');
      const before = memoryMb(stack.scheduler.pid);
      const feedReads = await stack.scheduler.metric('carillon_scheduler_feed_changes_total');
      // With payloads that differ, since equal ones of a transaction are merged by the server.
      await stormer.query('select pg_notify($1, i::text) from generate_series(1, $2::int) i', [
        SCHEDULES_CHANNEL,
        NOTIFIES,
      ]);
      await scenario.addBells(5);
      await scenario.ringing(10_000);
      await delay(3_000);
      const growthMb = memoryMb(stack.scheduler.pid) - before;
      if (growthMb > MOST_GROWTH_MB) throw new Error(`the scheduler's memory grew by ${growthMb} MB`);
      const changes = (await stack.scheduler.metric('carillon_scheduler_feed_changes_total')) - feedReads;
      return { latenessLimitMs: 2_000, figures: { growthMb: Math.max(0, growthMb), changes } };
    } finally {
      await idler.end();
      await stormer.end();
    }
  },
};

function memoryMb(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kilobytes) / 1024);
}
