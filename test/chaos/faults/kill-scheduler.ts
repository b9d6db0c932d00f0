import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

/** What was in flight when it was killed is sent again after the rest. */
const SLACK_MS = 1_500;

export const killScheduler: Fault = {
  name: 'kill-scheduler',
  numbers: [1, 2],
  story: 'SIGKILL of the scheduler at random moments, under load; each time it is started again.',
  async run(scenario, length) {
    const { random, stack } = scenario;
    const { kills, seconds } = length === 'full' ? { kills: 20, seconds: 60 } : { kills: 6, seconds: 20 };
    const { scheduler } = stack;
    await scenario.firing(scheduler);
    await scenario.ringing();
    const beginMs = performance.now();
    const moments = Array.from({ length: kills }, () => random.between(0, seconds * 1000)).sort(
      (a, b) => a - b,
    );
    let longestMs = 0;
    let downSinceMs: number | undefined;
    for (const [index, moment] of moments.entries()) {
      await delay(Math.max(0, beginMs + moment - performance.now()));
      downSinceMs ??= performance.now();
      await scheduler.kill('SIGKILL');
      await scenario.checkWatermarks();
      await scheduler.start();
      // Every third is killed again before it fires.
      if (random.fraction() < 0.33 && index < kills - 1) continue;
      await scenario.firing(scheduler);
      const nowMs = performance.now();
      longestMs = Math.max(longestMs, nowMs - downSinceMs);
      // A life that ends at once is a part of the outage.
      if (beginMs + (moments[index + 1] ?? Number.POSITIVE_INFINITY) - nowMs > SLACK_MS)
        downSinceMs = undefined;
    }
    await delay(Math.max(0, beginMs + seconds * 1000 - performance.now()));
    return {
      latenessLimitMs: longestMs + SLACK_MS,
      figures: { kills, longestOutageMs: Math.round(longestMs) },
    };
  },
};
