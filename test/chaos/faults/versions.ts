import { setTimeout as delay } from 'node:timers/promises';
import { oldVersionMissing } from '../../support/old-version.ts';
import type { ServiceProcess } from '../../support/service-process.ts';
import type { Fault } from '../fault.ts';
import { type Scenario, until } from '../scenario.ts';

/** A watermark format of a version to come. */
const FUTURE_FORMAT = 99;
const REFUSED_MS = 3_000;

export const versions: Fault = {
  name: 'versions',
  numbers: [30],
  story:
    'An old version and this one on one database: migrated under the old, handed over on and back, service by service; a newer format is refused.',
  available: oldVersionMissing,
  setUp: { old: true, bells: 30 },
  async run(scenario, length) {
    const { stack, database, oldVersion } = scenario;
    const rounds = length === 'full' ? 3 : 1;
    const old = stack.scheduler;
    const present = stack.prepareScheduler('present', { CARILLON_MIGRATE: '0' });
    present.become();
    await scenario.ringing();

    // The schema is expanded under the old version, which goes on.
    const migrations = await database.migrate();
    if (migrations.length === 0) throw new Error('the old version has the schema of this one');
    await scenario.ringing();

    for (let round = 0; round < rounds; round++) {
      await handOver(scenario, old, present);
      await change(scenario);
      await handOver(scenario, present, old);
      await change(scenario);
      // Without a word: the other one finds what was left.
      await present.start();
      await ready(present);
      await old.kill();
      await scenario.firing(present, 10_000);
      await scenario.ringing();
      await scenario.checkWatermarks();
      // The other services, under either leader.
      for (const service of [stack.runs, stack.schedules]) {
        await service.stop();
        service.become(round % 2 === 0 ? undefined : oldVersion);
        await service.start();
        await service.ready();
        await scenario.ringing();
      }
      await old.start();
      await ready(old);
      await present.stop();
      await scenario.firing(old, 10_000);
      await change(scenario);
    }

    const beganMs = performance.now();
    await old.stop();
    await refused(scenario, present);
    return {
      latenessLimitMs: performance.now() - beganMs + 5_000,
      // What a stopped schedule had not sent by then is skipped.
      mayWriteOff: true,
      figures: { rounds, migrations: migrations.length },
    };
  },
};

/** Starts one beside another that leads, and ends that one. */
async function handOver(scenario: Scenario, from: ServiceProcess, to: ServiceProcess): Promise<void> {
  await to.start();
  await ready(to);
  const exit = await from.stop();
  if (exit.code !== 0) throw new Error(`${from.name} ended with ${JSON.stringify(exit)}`);
  await scenario.firing(to, 10_000);
  await scenario.ringing();
  await scenario.checkWatermarks();
}

async function ready(scheduler: ServiceProcess): Promise<void> {
  await until(
    () => /"msg":"standby-ready"/.test(scheduler.log()),
    `${scheduler.name} is standby-ready`,
    30_000,
  );
}

/** Creates a schedule, stops one and resumes it. */
async function change(scenario: Scenario): Promise<void> {
  const [added] = await scenario.addBells(1);
  await scenario.ringing();
  if (added === undefined) throw new Error('nothing was added');
  await scenario.deactivate(added);
  await delay(1_000);
  await scenario.activate(added);
  await scenario.ringing();
}

/** A scheduler that finds watermarks of a version to come says so and fires nothing; when they are gone, it works. */
async function refused(scenario: Scenario, scheduler: ServiceProcess): Promise<void> {
  const { pool } = scenario;
  const { rows } = await pool.query<{ unit: number; format: number }>(
    'select unit, format from scheduler_frontiers order by unit limit 1',
  );
  const [row] = rows;
  if (row === undefined) throw new Error('there is no frontier');
  const setFormat = (format: number) =>
    pool.query('update scheduler_frontiers set format = $1 where unit = $2', [format, row.unit]);
  await setFormat(FUTURE_FORMAT);
  await scheduler.start();
  await until(
    () => scheduler.log().includes(`watermarks are stored in format ${FUTURE_FORMAT}`),
    'it says why it does not begin',
    10_000,
  );
  const before = (await scenario.found()).runs.length;
  await delay(REFUSED_MS);
  if ((await scenario.found()).runs.length > before) throw new Error('it creates runs all the same');
  await setFormat(row.format);
  await scenario.ringing();
}
