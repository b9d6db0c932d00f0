import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

export const slowAnswers: Fault = {
  name: 'slow-answers',
  numbers: [11],
  story:
    'The runs service does what it is asked, and answers long after the deadline. What is in flight stays bounded.',
  setUp: {
    gateway: true,
    scheduler: {
      CARILLON_CALL_TIMEOUT_MS: '1000',
      CARILLON_RAMP_UP_MS: '500',
      CARILLON_MAX_OUTSTANDING: '200',
    },
  },
  async run(scenario, length) {
    const { gateway, stack } = scenario;
    await scenario.ringing();
    const slowMs = length === 'full' ? 30_000 : 6_000;
    const forMs = length === 'full' ? 60_000 : 8_000;
    gateway.interference = async (call) => {
      const response = await call.forward();
      await delay(slowMs);
      return response;
    };
    const endMs = performance.now() + forMs;
    let mostOutstanding = 0;
    while (performance.now() < endMs) {
      mostOutstanding = Math.max(
        mostOutstanding,
        await stack.scheduler.metric('carillon_scheduler_outstanding_slots'),
      );
      const calls = await stack.scheduler.metric('carillon_scheduler_calls_in_flight');
      if (calls > 4) throw new Error(`${calls} calls are in flight`);
      await delay(100);
    }
    gateway.behave();
    if (mostOutstanding > 200) throw new Error(`${mostOutstanding} slots are outstanding`);
    await scenario.ringing();
    return { latenessLimitMs: forMs + 45_000, figures: { slowMs, mostOutstanding } };
  },
};
