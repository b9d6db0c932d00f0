import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Fault } from '../fault.ts';

export const lostAnswers: Fault = {
  name: 'lost-answers',
  numbers: [2, 13],
  story:
    'Every few calls create their runs and answer that the time is up. The runs are found, not created again.',
  setUp: { gateway: true, scheduler: { CARILLON_MAX_BATCH: '10', CARILLON_RAMP_UP_MS: '100' } },
  async run(scenario, length) {
    const { gateway, random } = scenario;
    await scenario.ringing();
    let lost = 0;
    gateway.interference = async (call) => {
      const response = await call.forward();
      if (random.fraction() >= 0.1) return response;
      lost += call.requests.length;
      throw new ConnectError('too late', Code.DeadlineExceeded);
    };
    await delay(length === 'full' ? 60_000 : 12_000);
    gateway.behave();
    await scenario.ringing();
    if (lost === 0) throw new Error('chance lost no answer');
    return { latenessLimitMs: 15_000, figures: { lostAnswers: lost } };
  },
};
