import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

export const shortConnections: Fault = {
  name: 'short-connections',
  numbers: [15],
  story: 'The runs service closes each connection after two calls, and takes one at a time. No call is lost.',
  setUp: {
    gateway: true,
    scheduler: { CARILLON_MAX_BATCH: '5', CARILLON_BREAKER_RESET_MS: '200', CARILLON_RAMP_UP_MS: '50' },
  },
  async run(scenario, length) {
    await scenario.ringing();
    scenario.gateway.limitConnections(2, true);
    await delay(length === 'full' ? 40_000 : 8_000);
    scenario.gateway.limitConnections(0, false);
    await scenario.ringing();
    return { latenessLimitMs: 15_000, figures: { calls: scenario.gateway.calls } };
  },
};
