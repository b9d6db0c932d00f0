import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

/** A take-over by a restart takes this long besides the process's own start. */
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
    let atMs = beginMs;
    for (const moment of moments) {
      await delay(Math.max(0, beginMs + moment - performance.now()));
      atMs = performance.now();
      await scheduler.kill('SIGKILL');
      await scenario.checkWatermarks();
      await scheduler.start();
      // Every third is killed again before it fires.
      if (random.fraction() < 0.33) continue;
      await scenario.firing(scheduler);
      longestMs = Math.max(longestMs, performance.now() - atMs);
    }
    await scenario.firing(scheduler);
    longestMs = Math.max(longestMs, performance.now() - atMs);
    await delay(Math.max(0, beginMs + seconds * 1000 - performance.now()));
    return {
      latenessLimitMs: longestMs * 3 + SLACK_MS,
      figures: { kills, longestOutageMs: Math.round(longestMs) },
    };
  },
};
