import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';

const LEASE_TTL_MS = 3_000;

export const frozenLeader: Fault = {
  name: 'frozen-leader',
  numbers: [6, 7],
  story:
    'SIGSTOP of the leader beside a standby, which takes over; schedules are stopped meanwhile; then the old leader wakes up.',
  setUp: { scheduler: { CARILLON_LEASE_TTL_MS: String(LEASE_TTL_MS) } },
  async run(scenario, length) {
    const { rounds, frozenMs } =
      length === 'full' ? { rounds: 3, frozenMs: 30_000 } : { rounds: 1, frozenMs: 8_000 };
    let leader = scenario.stack.scheduler;
    let standby = await scenario.stack.addScheduler('standby');
    const takeOversMs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      await scenario.ringing();
      const epoch = await standby.metric('carillon_scheduler_epoch');
      const frozenAtMs = performance.now();
      await leader.kill('SIGSTOP');
      await scenario.leading(standby);
      takeOversMs.push(performance.now() - frozenAtMs);
      const stopped = scenario.bells
        .filter(({ stretches }) => stretches.at(-1)?.to === undefined)
        .slice(0, 5);
      await Promise.all(stopped.map((bell) => scenario.deactivate(bell)));
      await delay(Math.max(0, frozenAtMs + frozenMs - performance.now()));
      await leader.kill('SIGCONT');
      await delay(2_000);
      if ((await leader.metric('carillon_scheduler_leader')) === 1)
        throw new Error('it still thinks that it leads');
      if ((await standby.metric('carillon_scheduler_epoch')) <= epoch)
        throw new Error('the epoch did not rise');
      await scenario.checkWatermarks();
      [leader, standby] = [standby, leader];
    }
    const slowestMs = Math.max(...takeOversMs);
    if (slowestMs > LEASE_TTL_MS + 1_000) throw new Error(`the take-over took ${Math.round(slowestMs)} ms`);
    return {
      latenessLimitMs: LEASE_TTL_MS + 2_500,
      // What a stopped schedule had not sent by then is skipped.
      mayWriteOff: true,
      figures: { slowestTakeOverMs: Math.round(slowestMs) },
    };
  },
};
