import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

export const halfOpenListener: Fault = {
  name: 'half-open-listener',
  numbers: [19],
  story:
    "The server process behind the scheduler's LISTEN connection hangs. An edit is seen within 2 s all the same.",
  async run(scenario, length) {
    await scenario.ringing();
    const { rows } = await scenario.pool.query<{ pid: number }>(
      `select pid from pg_stat_activity
      where application_name like 'carillon-scheduler%' and query ilike '%listen%' and state = 'idle'`,
    );
    if (rows.length === 0) throw new Error('nobody listens');
    for (const { pid } of rows) process.kill(pid, 'SIGSTOP');
    try {
      const edits = length === 'full' ? 20 : 5;
      for (let edit = 0; edit < edits; edit++) {
        await scenario.addBells(1);
        await delay(scenario.random.between(500, 1_500));
      }
      await scenario.ringing(10_000);
    } finally {
      for (const { pid } of rows) process.kill(pid, 'SIGCONT');
    }
    // The first slots of what was created are late by no more than it takes to see it.
    return { latenessLimitMs: 2_000 };
  },
};
