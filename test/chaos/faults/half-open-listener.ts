import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';
import type { Scenario } from '../scenario.ts';

export const halfOpenListener: Fault = {
  name: 'half-open-listener',
  numbers: [19],
  story:
    "The server process behind the scheduler's LISTEN connection hangs. An edit is seen within 2 s all the same.",
  async run(scenario, length) {
    await scenario.ringing();
    const hanging = new Set<number>();
    try {
      const edits = length === 'full' ? 20 : 5;
      for (let edit = 0; edit < edits; edit++) {
        // It gets a new one as soon as it notices, so that one hangs next.
        for (const pid of await listeners(scenario)) {
          if (hanging.has(pid)) continue;
          process.kill(pid, 'SIGSTOP');
          hanging.add(pid);
        }
        await scenario.addBells(1);
        await delay(scenario.random.between(1_500, 3_500));
      }
      if (hanging.size === 0) throw new Error('nobody listens');
      await scenario.ringing(10_000);
    } finally {
      for (const pid of hanging) process.kill(pid, 'SIGCONT');
    }
    // The first slots of what was created are late by no more than it takes to see it.
    return { latenessLimitMs: 2_000, figures: { hanging: hanging.size } };
  },
};

/** The server processes behind connections on which a scheduler listens. */
async function listeners({ pool }: Scenario): Promise<number[]> {
  const { rows } = await pool.query<{ pid: number }>(
    `select pid from pg_stat_activity
    where application_name like 'carillon-scheduler%' and query ilike '%listen%' and state = 'idle'`,
  );
  return rows.map(({ pid }) => pid);
}
