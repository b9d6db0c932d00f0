import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';
import { until } from '../scenario.ts';

export const blueGreen: Fault = {
  name: 'blue-green',
  numbers: [29],
  story: 'A new replica starts beside the old one, which is then asked to end, again and again under load.',
  async run(scenario, length) {
    const { stack } = scenario;
    const handovers = length === 'full' ? 10 : 4;
    let blue = stack.scheduler;
    const gapsMs: number[] = [];
    for (let handover = 0; handover < handovers; handover++) {
      await scenario.ringing();
      const green = await stack.addScheduler(`green-${handover + 1}`);
      await until(() => /"msg":"standby-ready"/.test(green.log()), `${green.name} is standby-ready`, 30_000);
      // At any moment of a second, not only at its beginning.
      await delay(scenario.random.between(0, 1_000));
      const exit = await blue.stop();
      if (exit.code !== 0)
        throw new Error(`${blue.name} ended with ${JSON.stringify(exit)}\n${blue.log().slice(-2_000)}`);
      await scenario.firing(green);
      gapsMs.push(timeOf(green.log(), 'ready: firing') - timeOf(blue.log(), 'released the lease'));
      blue = green;
    }
    return {
      latenessLimitMs: 1_000,
      handoverGapsMs: gapsMs,
      figures: { slowestHandoverMs: Math.max(...gapsMs) },
    };
  },
};

/** When a service last said something, in epoch milliseconds. */
function timeOf(log: string, message: string): number {
  const line = log
    .split('\n')
    .filter((candidate) => candidate.includes(`"msg":"${message}"`))
    .at(-1);
  const time: unknown = line === undefined ? undefined : JSON.parse(line).time;
  if (typeof time !== 'string') throw new Error(`nobody said "${message}"`);
  return Date.parse(time);
}
