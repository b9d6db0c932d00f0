import { PgBouncer } from '@carillon/db/test/pg-bouncer.ts';
import type { Fault } from '../fault.ts';

export const pooler: Fault = {
  name: 'pooler',
  numbers: [24],
  story:
    'A scheduler is started behind PgBouncer in transaction mode. It ends at once and says why; the leader goes on.',
  available: () => (PgBouncer.installed() ? undefined : 'pgbouncer is not installed'),
  async run(scenario) {
    const { stack, database } = scenario;
    await scenario.ringing();
    const bouncer = await PgBouncer.start(database.url, 'transaction');
    try {
      const behind = stack.prepareScheduler('behind', { DATABASE_URL: bouncer.url });
      await behind.start().catch(() => undefined);
      const exit = await behind.exited;
      if (exit.code !== 1) throw new Error(`it ended with ${JSON.stringify(exit)}`);
      if (!/pooler in transaction or statement mode/.test(behind.log())) {
        throw new Error(`it does not say why:\n${behind.log().slice(-2_000)}`);
      }
    } finally {
      await bouncer.close();
    }
    await scenario.ringing();
    return { latenessLimitMs: 2_000 };
  },
};
