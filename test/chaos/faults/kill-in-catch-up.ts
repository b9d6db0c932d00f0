import { setTimeout as delay } from 'node:timers/promises';
import { findWatermarks } from '../../support/found-slots.ts';
import type { Fault } from '../fault.ts';
import { PROJECT, type Scenario } from '../scenario.ts';

const CATCH_UP_PER_SECOND = 100;

export const killInCatchUp: Fault = {
  name: 'kill-in-catch-up',
  numbers: [4],
  story:
    'The scheduler is down for a while, and killed again and again while it catches up. Progress never goes back.',
  setUp: { scheduler: { CARILLON_MAX_CATCHUP_RUNS_PER_LOOP: String(CATCH_UP_PER_SECOND) } },
  async run(scenario, length) {
    const { downMs, kills } =
      length === 'full' ? { downMs: 60_000, kills: 20 } : { downMs: 15_000, kills: 4 };
    const { scheduler } = scenario.stack;
    await scenario.ringing();
    const beginMs = performance.now();
    await scheduler.kill();
    await delay(downMs);
    let before = await progressOf(scenario);
    for (let kill = 0; kill < kills; kill++) {
      await scheduler.start();
      await scenario.firing(scheduler);
      await delay(scenario.random.between(0, 1_500));
      if ((await scheduler.metric('carillon_scheduler_backlog_slots')) === 0)
        throw new Error('there is nothing left to catch up on');
      await scheduler.kill();
      await scenario.checkWatermarks();
      const after = await progressOf(scenario);
      if (after.runs < before.runs) throw new Error(`${before.runs} runs, and then ${after.runs}`);
      for (const [schedule, throughMs] of before.watermarks) {
        if ((after.watermarks.get(schedule) ?? 0) < throughMs)
          throw new Error(`the watermark of ${schedule} went back`);
      }
      before = after;
    }
    await scheduler.start();
    await scenario.ringing();
    const missedMs = performance.now() - beginMs;
    // Everything that fell due meanwhile, at the rate at which it is allowed to catch up; and half as much again for the kills.
    const backlogMs = ((missedMs / 1000) * scenario.bells.length * 1000) / CATCH_UP_PER_SECOND;
    await scenario.judge(scenario.now(), backlogMs * 1.5 + 30_000);
    return { latenessLimitMs: missedMs + backlogMs * 1.5 + 5_000, figures: { kills, downMs } };
  },
};

async function progressOf(scenario: Scenario): Promise<{ runs: number; watermarks: Map<string, number> }> {
  const watermarks = await findWatermarks(scenario.pool, PROJECT);
  const { runs } = await scenario.found();
  return {
    runs: runs.length,
    watermarks: new Map(watermarks.map(({ schedule, throughMs }) => [schedule, throughMs])),
  };
}
