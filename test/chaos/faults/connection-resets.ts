import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

export const connectionResets: Fault = {
  name: 'connection-resets',
  numbers: [10],
  story: 'Every connection to the runs service is reset every 2 s. None is leaked.',
  setUp: { proxy: true, scheduler: { CARILLON_BREAKER_RESET_MS: '500', CARILLON_RAMP_UP_MS: '100' } },
  async run(scenario, length) {
    await scenario.ringing();
    const resets = length === 'full' ? 30 : 6;
    let mostSockets = 0;
    for (let reset = 0; reset < resets; reset++) {
      await delay(2_000 + scenario.random.between(-200, 200));
      mostSockets = Math.max(mostSockets, scenario.proxy.sockets);
      scenario.proxy.reset();
    }
    await scenario.ringing();
    // Two of each connection: as many calls as there may be at once.
    if (scenario.proxy.sockets > 8) throw new Error(`${scenario.proxy.sockets} sockets are open`);
    return { latenessLimitMs: 10_000, figures: { resets, mostSockets } };
  },
};
