import { setTimeout as delay } from 'node:timers/promises';
import { FakeTime } from '../../support/fake-time.ts';
import { faultsOf } from '../../support/slot-checker.ts';
import type { Fault } from '../fault.ts';
import { describeFaults, type Scenario } from '../scenario.ts';

const HOUR_MS = 3_600_000;
const BELLS = 5;
const LEASE_TTL_MS = 3_000;

export const everyClock: Fault = {
  name: 'every-clock',
  numbers: [16, 17],
  story:
    "The wall clock of every process, the database's too, goes an hour forward, and back again; then the leader dies; then the clock is put right.",
  available: FakeTime.missing,
  setUp: { fakeTime: true, bells: BELLS, scheduler: { CARILLON_LEASE_TTL_MS: String(LEASE_TTL_MS) } },
  async run(scenario, length) {
    const { stack } = scenario;
    const quietMs = length === 'full' ? 15_000 : 4_000;
    await scenario.ringing();

    // Forward: an hour of slots falls due at once.
    await scenario.step(HOUR_MS);
    const forwardAtMs = performance.now();
    await scenario.ringing();
    await settled(scenario, 120_000);
    const caughtUpMs = performance.now() - forwardAtMs;
    if ((await stack.scheduler.metric('carillon_scheduler_clock_steps_total')) === 0)
      throw new Error('the step was not noticed');

    // Back: what has fired is not due again for an hour; what is new rings at once.
    const standby = await stack.addScheduler('standby');
    await scenario.ringing();
    const ahead = scenario.bells.map(({ schedule }) => schedule);
    await scenario.step(-HOUR_MS);
    const added = await scenario.addBells(BELLS);
    await scenario.ringing(10_000, added);
    const before = await runsOf(scenario, ahead);
    await delay(quietMs);
    const after = await runsOf(scenario, ahead);
    if (after !== before) throw new Error(`${after - before} slots of the hour that comes again fired`);

    const diedAtMs = performance.now();
    await stack.scheduler.kill();
    await scenario.leading(standby);
    const takeOverMs = performance.now() - diedAtMs;
    if (takeOverMs > LEASE_TTL_MS + 1_000) throw new Error(`the take-over took ${Math.round(takeOverMs)} ms`);
    await scenario.ringing(10_000, added);
    await scenario.checkWatermarks();

    // And on again: it goes on where it was, and the new ones have an hour to catch up.
    await scenario.step(HOUR_MS);
    await scenario.ringing();
    await settled(scenario, 120_000);
    return {
      latenessLimitMs: HOUR_MS + 60_000,
      figures: { caughtUpMs: Math.round(caughtUpMs), takeOverMs: Math.round(takeOverMs) },
    };
  },
};

/** Waits until every slot up to now has an outcome. */
async function settled(scenario: Scenario, limitMs: number): Promise<void> {
  const verdict = await scenario.judge(Math.floor(scenario.now() / 1000) * 1000, limitMs);
  if (faultsOf(verdict).length > 0) throw new Error(describeFaults(verdict));
}

async function runsOf(scenario: Scenario, schedules: readonly string[]): Promise<number> {
  return (await scenario.found()).runs.filter(({ schedule }) => schedules.includes(schedule)).length;
}
