import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceProcess } from '../../support/service-process.ts';
import type { Fault } from '../fault.ts';
import type { Scenario } from '../scenario.ts';

export const twoLeaders: Fault = {
  name: 'two-leaders',
  numbers: [8],
  story:
    'Three replicas that all fire everything, because each holds a lease of its own. Only attempts multiply.',
  async run(scenario, length) {
    const { stack } = scenario;
    const others = [await addLeader(scenario, 'second'), await addLeader(scenario, 'third')];
    for (const scheduler of others) await scenario.firing(scheduler);
    await scenario.ringing();
    await delay(length === 'full' ? 60_000 : 8_000);
    await scenario.checkWatermarks();
    const fires = await Promise.all(
      stack.schedulers.map((scheduler) => scheduler.metric('carillon_scheduler_successful_fires_total')),
    );
    if (fires.some((count) => count === 0)) throw new Error('one of them fired nothing');
    const { runs } = await scenario.found();
    return {
      latenessLimitMs: 2_000,
      figures: { attemptsPerRun: Math.round((fires.reduce((a, b) => a + b, 0) / runs.length) * 100) / 100 },
    };
  },
};

/** Starts a scheduler that finds tables of leases of its own, and so nobody else's lease. */
async function addLeader({ pool, database, stack }: Scenario, name: string): Promise<ServiceProcess> {
  await pool.query(`
    create schema ${name};
    create table ${name}.scheduler_leases (like public.scheduler_leases including all);
    create table ${name}.scheduler_terms (like public.scheduler_terms including all);
  `);
  const url = new URL(database.url);
  url.searchParams.set('options', `-c search_path=${name},public`);
  return await stack.addScheduler(name, { DATABASE_URL: url.toString() });
}
