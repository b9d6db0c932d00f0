import { setTimeout as delay } from 'node:timers/promises';
import type { ServiceProcess } from '../../support/service-process.ts';
import type { Fault } from '../fault.ts';
import { leading, until } from '../scenario.ts';

const LEASE_TTL_MS = 3_000;
const SHARDS = 4;
const MOVE_LIMIT_MS = 30_000;

export const movingShards: Fault = {
  name: 'moving-shards',
  numbers: [1, 6],
  story:
    'Four shards over three replicas: one is killed and comes back, one is frozen and wakes up, one ends in order; the others take over, and are relieved again.',
  setUp: {
    scheduler: { CARILLON_LEASE_TTL_MS: String(LEASE_TTL_MS), CARILLON_SHARDS: String(SHARDS) },
  },
  async run(scenario, length) {
    const { random, stack } = scenario;
    const { rounds, frozenMs } =
      length === 'full' ? { rounds: 5, frozenMs: 15_000 } : { rounds: 1, frozenMs: 6_000 };
    for (const name of ['second', 'third']) await stack.addScheduler(name);
    const even = async (): Promise<void> => {
      await until(
        async () => (await leading(stack.schedulers)).sort().join() === '1,1,2',
        'shards are even',
        MOVE_LIMIT_MS,
      );
    };
    const takeOversMs: number[] = [];
    /** Waits until the others lead what this one led. */
    const takenOver = async (gone: ServiceProcess, sinceMs: number): Promise<void> => {
      const others = stack.schedulers.filter((scheduler) => scheduler !== gone);
      const all = async (): Promise<boolean> =>
        (await leading(others)).reduce((sum, count) => sum + count, 0) === SHARDS;
      await until(all, `others lead what ${gone.name} led`, MOVE_LIMIT_MS);
      takeOversMs.push(performance.now() - sinceMs);
    };
    for (let round = 0; round < rounds; round++) {
      const [killed, frozen, ended] = random.shuffle(stack.schedulers);
      await even();
      await scenario.ringing();

      let sinceMs = performance.now();
      await killed!.kill('SIGKILL');
      await takenOver(killed!, sinceMs);
      await scenario.checkWatermarks();
      await killed!.start();
      await even();

      sinceMs = performance.now();
      await frozen!.kill('SIGSTOP');
      await takenOver(frozen!, sinceMs);
      await delay(Math.max(0, sinceMs + frozenMs - performance.now()));
      await frozen!.kill('SIGCONT');
      await even();
      await scenario.checkWatermarks();

      const exit = await ended!.stop();
      if (exit.code !== 0) throw new Error(`${ended!.name} ended with ${JSON.stringify(exit)}`);
      await scenario.ringing();
      await ended!.start();
    }
    await even();
    return {
      latenessLimitMs: LEASE_TTL_MS + 2_500,
      figures: { rounds, slowestTakeOverMs: Math.round(Math.max(...takeOversMs)) },
    };
  },
};
