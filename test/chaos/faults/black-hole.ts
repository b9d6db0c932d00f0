import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';
import { until } from '../scenario.ts';

export const blackHole: Fault = {
  name: 'black-hole',
  numbers: [9],
  story:
    'The runs service takes connections and never answers. Slots wait, the breaker opens, recovers and ramps up.',
  setUp: { proxy: true, scheduler: { CARILLON_CALL_TIMEOUT_MS: '1000', CARILLON_RAMP_UP_MS: '2000' } },
  async run(scenario, length) {
    const outageMs = length === 'full' ? 300_000 : 10_000;
    const { scheduler } = scenario.stack;
    await scenario.ringing();
    const beginMs = performance.now();
    scenario.proxy.freeze();
    await until(
      async () => (await scheduler.metric('carillon_scheduler_breaker_state')) === 2,
      'the breaker opens',
      outageMs,
    );
    await delay(Math.max(0, beginMs + outageMs - performance.now()));
    scenario.proxy.thaw();
    scenario.proxy.reset();
    await scenario.ringing();
    await until(
      async () => (await scheduler.metric('carillon_scheduler_breaker_state')) === 0,
      'the breaker closes',
      30_000,
    );
    // Back-off of up to 30 s, the breaker's 2 s, and the ramp of 2 s; then everything that fell due meanwhile.
    return { latenessLimitMs: outageMs + 45_000, figures: { outageMs } };
  },
};
