import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

export const shortConnections: Fault = {
  name: 'short-connections',
  numbers: [15],
  story:
    'The runs service closes each connection after two calls, and works on one call at a time. No call is lost.',
  setUp: { gateway: true, scheduler: { CARILLON_MAX_BATCH: '10' } },
  async run(scenario, length) {
    const { gateway } = scenario;
    await scenario.ringing();
    gateway.limitCalls(2);
    let last: Promise<unknown> = Promise.resolve();
    gateway.interference = (call) => {
      const answer = last.then(() => call.forward());
      last = answer.catch(() => undefined);
      return answer;
    };
    await delay(length === 'full' ? 40_000 : 8_000);
    gateway.limitCalls(0);
    gateway.behave();
    await scenario.ringing();
    return { latenessLimitMs: 5_000, figures: { calls: gateway.calls } };
  },
};
