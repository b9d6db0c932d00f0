import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

const HOUR_MS = 3_600_000;

export const clockSteps: Fault = {
  name: 'clock-steps',
  numbers: [16, 17],
  story:
    "The wall clock of the scheduler, as JavaScript sees it, goes an hour forward and back again; then the leader dies, and a standby's clock is an hour slow.",
  setUp: { orders: true },
  async run(scenario, length) {
    const { stack } = scenario;
    const pauseMs = length === 'full' ? 15_000 : 3_000;
    await scenario.ringing();
    for (const stepMs of [HOUR_MS, -HOUR_MS, -HOUR_MS, HOUR_MS]) {
      await scenario.order(stack.scheduler, 'step', stepMs);
      await delay(pauseMs);
      await scenario.ringing();
    }
    const standby = await stack.addScheduler('standby');
    await scenario.order(standby, 'step', -HOUR_MS);
    await scenario.ringing();
    const diedAtMs = performance.now();
    await stack.scheduler.kill();
    await scenario.leading(standby);
    const tookMs = performance.now() - diedAtMs;
    if (tookMs > 4_000) throw new Error(`the take-over took ${Math.round(tookMs)} ms`);
    await scenario.ringing();
    return { latenessLimitMs: 5_500, figures: { takeOverMs: Math.round(tookMs) } };
  },
};
