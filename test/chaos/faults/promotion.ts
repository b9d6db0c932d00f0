import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceProcess } from '../../support/service-process.ts';
import type { Fault } from '../fault.ts';
import { until } from '../scenario.ts';

const LOST_MS = 5_000;
/** More than a sequence logs ahead: what is created after the promotion is given the ids of schedules that were lost. */
const LOST_BELLS = 40;
const LOST_STOPS = 5;

export const promotion: Fault = {
  name: 'promotion',
  numbers: [23],
  story:
    'A standby that has not heard of the last commits is promoted. The scheduler reads everything anew and says what was lost; what is left has its runs.',
  setUp: { standby: true, bells: 20 },
  async run(scenario, length) {
    const { stack, replicated } = scenario;
    const rounds = length === 'full' ? 3 : 1;
    let leader = stack.scheduler;
    let other = await stack.addScheduler('other');
    let lostRuns = 0;
    let longestMs = 0;
    for (let round = 0; round < rounds; round++) {
      if (round > 0) await replicated.addStandby();
      await scenario.ringing();
      const cutAtMs = performance.now();
      replicated.cut();
      // None of this will have happened.
      const active = scenario.bells.filter(({ stretches }) => stretches.at(-1)?.to === undefined);
      await Promise.all(active.slice(0, LOST_STOPS).map((bell) => scenario.deactivate(bell)));
      await scenario.addBells(LOST_BELLS);
      await scenario.ringing();
      const leaderDies = round % 2 === 1;
      if (leaderDies) {
        await leader.kill();
        [leader, other] = [other, leader];
        await scenario.leading(leader);
        await scenario.ringing();
      }
      await delay(LOST_MS);
      const runs = (await scenario.found()).runs.length;
      const told = await lossesToldBy(leader);

      await replicated.failOver();
      // The first of its connections may be one that is gone.
      await until(() => scenario.forget().then(() => true), 'the schedules are read', 10_000);
      lostRuns += runs - (await scenario.found()).runs.length;
      if (leaderDies) await other.start();
      await scenario.addBells(LOST_BELLS);
      await scenario.ringing();
      longestMs = Math.max(longestMs, performance.now() - cutAtMs);
      await until(
        async () => (await lossesToldBy(leader)) - told === LOST_BELLS + LOST_STOPS,
        'the leader tells how many changes were lost',
        10_000,
      );
      await scenario.checkWatermarks();
    }
    for (const service of stack.services) {
      if (service.deaths.length > 0) throw new Error(`${service.name} ended`);
    }
    if (lostRuns <= 0) throw new Error('no run was lost');
    return {
      latenessLimitMs: longestMs + 5_000,
      figures: { lostRuns, lostChanges: rounds * (LOST_BELLS + LOST_STOPS) },
    };
  },
};

/** How many changes of schedules a scheduler has said were lost. */
async function lossesToldBy(scheduler: ServiceProcess): Promise<number> {
  return await scheduler.metric('carillon_scheduler_lost_changes_total');
}
