import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';
import { leading, until } from '../scenario.ts';

const LEASE_TTL_MS = 3_000;
const SWITCH_LIMIT_MS = 30_000;

/** What is sharded how, one version after another. */
const SHARDINGS = [
  { CARILLON_SHARDS: '4' },
  { CARILLON_SHARDS: '3' },
  { CARILLON_SHARDING: 'project', CARILLON_SHARDS: 'chaos;*' },
  { CARILLON_SHARDING: 'domain', CARILLON_SHARDS: 'bells;bells-1;*' },
  { CARILLON_SHARDS: '1' },
];

export const resharding: Fault = {
  name: 'resharding',
  numbers: [29],
  story:
    'Three replicas under load, of which one after another is started again with another sharding: 1, 4 and 3 shards by hash, by project, by domain, and back. Some are killed for it.',
  setUp: { scheduler: { CARILLON_LEASE_TTL_MS: String(LEASE_TTL_MS) }, domains: 3 },
  async run(scenario, length) {
    const { random, stack } = scenario;
    const rounds = length === 'full' ? 4 : 1;
    for (const name of ['second', 'third']) await stack.addScheduler(name);
    await scenario.ringing();
    const switchesMs: number[] = [];
    let version = 1;
    for (let round = 0; round < rounds; round++) {
      for (const sharding of SHARDINGS) {
        version++;
        const scheduler = random.pick(stack.schedulers);
        // At any moment of a second, not only at its beginning.
        await delay(random.between(0, 1_000));
        if (random.fraction() < 0.3) await scheduler.kill('SIGKILL');
        else await scheduler.stop();
        await scheduler.start({
          CARILLON_SHARDING: 'hash',
          ...sharding,
          CARILLON_SHARDING_VERSION: String(version),
        });
        const startedAtMs = performance.now();
        await until(
          async () => {
            const versions = await Promise.all(
              stack.schedulers.map((each) => each.metric('carillon_scheduler_assignment_version')),
            );
            const shards = await scheduler.metric('carillon_scheduler_shards');
            const led = (await leading(stack.schedulers)).reduce((sum, count) => sum + count, 0);
            return versions.every((followed) => followed === version) && led === shards;
          },
          `all shards of version ${version} are led`,
          SWITCH_LIMIT_MS,
        );
        switchesMs.push(performance.now() - startedAtMs);
        await scenario.checkWatermarks();
        await scenario.ringing();
      }
    }
    return {
      latenessLimitMs: LEASE_TTL_MS + 2_500,
      figures: { versions: version - 1, slowestSwitchMs: Math.round(Math.max(...switchesMs)) },
    };
  },
};
