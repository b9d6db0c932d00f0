import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';
import { type Scenario, until } from '../scenario.ts';

export const killInFlush: Fault = {
  name: 'kill-in-flush',
  numbers: [3],
  story: 'SIGKILL of the scheduler while it writes its watermarks, which takes long here.',
  async run(scenario, length) {
    const { pool, stack } = scenario;
    const kills = length === 'full' ? 15 : 4;
    await scenario.ringing();
    await pool.query(`
      create function slow_flush() returns trigger language plpgsql as $$ begin perform pg_sleep(0.4); return null; end $$;
      create trigger slow_flush after insert or update on scheduler_frontiers for each statement execute function slow_flush()
    `);
    for (let kill = 0; kill < kills; kill++) {
      await writing(scenario.pool);
      await delay(scenario.random.between(0, 300));
      await stack.scheduler.kill();
      await scenario.checkWatermarks();
      await stack.scheduler.start();
      await scenario.firing(stack.scheduler);
    }
    await pool.query('drop trigger slow_flush on scheduler_frontiers');
    return { latenessLimitMs: 10_000, figures: { kills } };
  },
};

/** Waits for a flush to be under way. */
async function writing(pool: Scenario['pool']): Promise<void> {
  const isWriting = async (): Promise<boolean> => {
    const { rows } = await pool.query(
      `select 1 from pg_stat_activity
      where state = 'active' and wait_event = 'PgSleep' and query like '%insert into scheduler_frontiers%' and pid <> pg_backend_pid()`,
    );
    return rows.length > 0;
  };
  await until(isWriting, 'watermarks are being written', 30_000);
}
