import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

const LEASE_TTL_MS = 3_000;

export const blockedLoop: Fault = {
  name: 'blocked-loop',
  numbers: [31],
  story:
    "The leader's event loop is blocked for 10 s; a standby takes over, and the old leader holds nothing false afterwards.",
  setUp: { orders: true, scheduler: { CARILLON_LEASE_TTL_MS: String(LEASE_TTL_MS) } },
  async run(scenario, length) {
    let leader = scenario.stack.scheduler;
    let standby = await scenario.stack.addScheduler('standby');
    const rounds = length === 'full' ? 4 : 1;
    for (let round = 0; round < rounds; round++) {
      await scenario.ringing();
      const blockedAtMs = performance.now();
      await scenario.order(leader, 'block', 10_000);
      await scenario.leading(standby);
      const tookMs = performance.now() - blockedAtMs;
      if (tookMs > LEASE_TTL_MS + 1_000) throw new Error(`the take-over took ${Math.round(tookMs)} ms`);
      await delay(Math.max(0, 11_000 - tookMs));
      if ((await leader.metric('carillon_scheduler_leader')) === 1)
        throw new Error('it still thinks that it leads');
      [leader, standby] = [standby, leader];
    }
    return { latenessLimitMs: LEASE_TTL_MS + 2_500 };
  },
};
