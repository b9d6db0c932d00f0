import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

export const twoLeaders: Fault = {
  name: 'two-leaders',
  numbers: [8],
  story:
    'Three replicas that all fire everything, because each holds a lease of its own. Only attempts multiply.',
  async run(scenario, length) {
    const { stack } = scenario;
    for (const name of ['second', 'third']) {
      for (const table of ['leases', 'terms'])
        await scenario.pool.query(`create table ${name}_${table} (like scheduler_${table} including all)`);
      const ownLeases = new URL('../own-leases.ts', import.meta.url).href;
      const scheduler = await stack.addScheduler(name, {
        NODE_OPTIONS: `--import ${ownLeases}`,
        CHAOS_LEASES: name,
      });
      await scenario.firing(scheduler);
    }
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
