import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseServer } from '@carillon/test/support/database-server.ts';
import type pg from 'pg';
import { bareLoop } from './bare-loop.ts';
import { print, quantiles, rate, rounded } from './print.ts';
import { median, quantile } from './quantile.ts';
import { createBells, PARENT, type System, withSystem } from './system.ts';

/**
 * How soon the first bell rings, and how many can: every service a process of its own, on an embedded PostgreSQL with fsync on,
 * everything on this machine.
 *
 * - armed: from the acknowledgement of a create, at the client, to the first scrape of the scheduler's metrics that counts the schedule
 *   among those in memory. An upper bound: the scrape's own time is in it. Under the load of the next line.
 * - lateness: from a slot's time to its being sent, by the database's clock, at 100 schedules of one second, all of which
 *   are due at the same instant. Until created is printed beside it.
 * - fires per second: runs created in some seconds in which more are due than can be created, limits lifted; singly with 64 calls in
 *   flight, and 500 a call with 4 in flight. The floor is the same calls from a bare loop, taking turns with it.
 */
export async function run(args: readonly string[]): Promise<object> {
  const seconds = Number(args[0] ?? 8);
  if (!(seconds >= 1)) throw new RangeError('usage: npm run bench -- first-bell [seconds per measurement]');
  const server = await DatabaseServer.start();
  try {
    const punctual = await server.copy('punctual');
    const punctuality = await withSystem(punctual, (system) => measurePunctuality(system, seconds));
    return { ...punctuality, ...(await measureRates(server, seconds)) };
  } finally {
    await server.remove();
  }
}

const BELLS = 100;
const ARMED_SAMPLES = 300;

async function measurePunctuality(
  { stack, pool, schedules }: System,
  seconds: number,
): Promise<{ armedP99Ms: number; latenessP99Ms: number }> {
  await createBells(schedules, 'bell', BELLS);
  // The first seconds compile code and open connections.
  await delay(5_000);
  const beginMs = Date.now();
  await delay(2 * seconds * 1_000);
  const { rows } = await pool.query<{ created: number; fired: number }>(
    `select (extract(epoch from create_time - nominal_time) * 1000)::float8 as created,
      (extract(epoch from fire_time - nominal_time) * 1000)::float8 as fired
    from runs where nominal_time > to_timestamp($1::float8 / 1000) and nominal_time <= to_timestamp($2::float8 / 1000)`,
    [beginMs, beginMs + (2 * seconds - 1) * 1_000],
  );
  const created = rows.map((row) => row.created);
  const fired = rows.map((row) => row.fired);
  print(`lateness, ${rows.length} slots at ${BELLS}/s, until created`, quantiles(created));
  print('                             until sent', quantiles(fired));

  const armed: number[] = [];
  let known = await stack.scheduler.metric('carillon_scheduler_schedules');
  for (let i = 0; i < ARMED_SAMPLES; i++) {
    await schedules.createSchedule({
      parent: PARENT,
      scheduleId: `armed-${i}`,
      schedule: {
        spec: {
          pattern: { case: 'cron', value: { expression: '0 0 1 1 *' } },
          run: { task: 'bench.ring' },
        },
      },
    });
    const acknowledgedMs = performance.now();
    while ((await stack.scheduler.metric('carillon_scheduler_schedules')) <= known);
    armed.push(performance.now() - acknowledgedMs);
    known++;
  }
  print(`armed, ${armed.length} creates under that load`, quantiles(armed));
  return { armedP99Ms: rounded(quantile(armed, 0.99)), latenessP99Ms: rounded(quantile(fired, 0.99)) };
}

/** More than a second's worth of what any machine of today does, so that more is due than can be created. */
const CROWD = Number(process.env.BENCH_CROWD ?? 20_000);
const ROUNDS = 3;
const SINGLE = { batch: 1, calls: 64 };
const BATCHED = { batch: 500, calls: 4 };

async function measureRates(
  server: DatabaseServer,
  seconds: number,
): Promise<{ unaryPerSecond: number; unaryFloor: number; batchPerSecond: number; batchFloor: number }> {
  const crowd = await server.copy('crowd');
  await withSystem(
    crowd,
    async ({ schedules }) => {
      const beginMs = performance.now();
      await createBells(schedules, 'crowd', CROWD);
      print('creates per second', rate((CROWD * 1000) / (performance.now() - beginMs)));
    },
    { startScheduler: false },
  );
  const single = { ours: [] as number[], floor: [] as number[] };
  const batched = { ours: [] as number[], floor: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [how, found] of [
      [SINGLE, single],
      [BATCHED, batched],
    ] as const) {
      // Each on a copy of its own: what one leaves behind must not weigh on the next.
      const { ours, floor } = await withSystem(
        await server.copy(`crowd_${how.batch}_${round}`, 'crowd'),
        (system) => measureFires(system, how, seconds),
        {
          startScheduler: false,
          scheduler: { CARILLON_MAX_BATCH: String(how.batch), CARILLON_MAX_CALLS: String(how.calls) },
        },
      );
      found.ours.push(ours);
      found.floor.push(floor);
      const what = how.batch === 1 ? 'fires per second, singly' : 'fires per second, in batches';
      print(what, `${rate(ours)}, bare loop ${rate(floor)}`);
    }
  }
  const figures = {
    unaryPerSecond: Math.round(median(single.ours)),
    unaryFloor: Math.round(median(single.floor)),
    batchPerSecond: Math.round(median(batched.ours)),
    batchFloor: Math.round(median(batched.floor)),
  };
  print('share of the floor, singly', (figures.unaryPerSecond / figures.unaryFloor).toFixed(2));
  print('share of the floor, in batches', (figures.batchPerSecond / figures.batchFloor).toFixed(2));
  return figures;
}

/** Runs created per second by a bare loop, and then by a scheduler for which more is due than it can send. */
async function measureFires(
  { stack, pool }: System,
  how: { readonly batch: number; readonly calls: number },
  seconds: number,
): Promise<{ ours: number; floor: number }> {
  const floor = await bareLoop({ ...how, baseUrl: stack.runs.url, forMs: seconds * 1000 });
  const scheduler = await stack.addScheduler('scheduler');
  while (!/"msg":"ready: firing"/.test(scheduler.log())) await delay(20);
  // Code is compiled, connections are opened.
  await delay(2_000);
  const beginMs = performance.now();
  const before = await runsOfBells(pool);
  await delay(seconds * 1_000);
  const after = await runsOfBells(pool);
  const elapsedMs = performance.now() - beginMs;
  if ((await scheduler.metric('carillon_scheduler_ready_streams')) === 0) {
    throw new Error('nothing waits: the load is too small for this machine');
  }
  return { ours: ((after - before) * 1000) / elapsedMs, floor };
}

async function runsOfBells(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ runs: number }>(
    "select count(*)::float8 as runs from runs where project = 'bench' and domain = 'bells'",
  );
  return rows[0]?.runs ?? 0;
}
