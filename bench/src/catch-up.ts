import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseServer } from '@carillon/test/support/database-server.ts';
import type pg from 'pg';
import { bareLoop } from './bare-loop.ts';
import { print, quantiles, rate, rounded } from './print.ts';
import { quantile } from './quantile.ts';
import { createBells, type System, withSystem } from './system.ts';

/**
 * How fast missed slots are caught up on, and what that does to live ones: a hundred schedules of one slot a second, which nobody has served for so long
 * that as many slots as asked for were missed, and no limit on missed slots but the rate.
 *
 * - at a rate: runs a second, beside the rate, from the first shot until the last missed slot has its run; and the lateness of the slots that fell
 *   due meanwhile, until their runs were created, by the database's clock;
 * - with the rate lifted: the same, beside a bare loop of the same calls.
 */
export async function run(args: readonly string[]): Promise<object> {
  const slots = Number(args[0] ?? 100_000);
  if (!(slots >= SCHEDULES))
    throw new RangeError(`usage: npm run bench -- catch-up [slots, at least ${SCHEDULES}]`);
  const server = await DatabaseServer.start();
  try {
    const missed = await server.copy('missed');
    await withSystem(missed, (system) => miss(system, slots), { startScheduler: false });
    const limited = await withSystem(
      await server.copy('limited', 'missed'),
      (system) => catchUp(system, slots),
      {
        startScheduler: false,
        scheduler: { CARILLON_RATE_PER_SECOND: String(RATE), CARILLON_BURST: String(RATE / 10) },
      },
    );
    print(
      `at ${rate(RATE)} a second`,
      `${rate(limited.perSecond)} runs a second, ${(limited.perSecond / RATE).toFixed(2)} of the rate`,
    );
    print('live slots meanwhile', quantiles(limited.lateness));
    const { lifted, floor } = await withSystem(
      await server.copy('lifted', 'missed'),
      async (system) => {
        const bare = await bareLoop({ batch: 500, calls: 4, baseUrl: system.stack.runs.url, forMs: 5_000 });
        return { lifted: await catchUp(system, slots), floor: bare };
      },
      { startScheduler: false },
    );
    print('without a limit', `${rate(lifted.perSecond)} runs a second, bare loop ${rate(floor)}`);
    print('live slots meanwhile', quantiles(lifted.lateness));
    return {
      slots,
      ratePerSecond: RATE,
      atRatePerSecond: Math.round(limited.perSecond),
      liveP99Ms: rounded(quantile(limited.lateness, 0.99)),
      liftedPerSecond: Math.round(lifted.perSecond),
      floorPerSecond: Math.round(floor),
      liftedLiveP99Ms: rounded(quantile(lifted.lateness, 0.99)),
    };
  } finally {
    await server.remove();
  }
}

const SCHEDULES = 100;
const RATE = 2_000;
/** What a scheduler takes to load everything, and to compile its code: not what is measured here. */
const START_MS = 3_000;

/** Schedules that have been active for as long as it takes to miss so many slots. Spans never change, so they are written as they are to be. */
async function miss({ pool, schedules }: System, slots: number): Promise<void> {
  await createBells(schedules, 'template', 1);
  await schedules.deactivateSchedule({ name: 'projects/bench/domains/bells/schedules/template-0' });
  await pool.query(
    `with template as (
      select id, generation, revision from schedules where schedule_id = 'template-0'
    ), copied as (
      insert into schedules (uid, project, domain, schedule_id, generation, revision, anchor_time, hash_slot)
      select gen_random_uuid(), 'bench', 'bells', 'missed-' || i, generation, template.revision,
        date_trunc('second', clock_timestamp()) - $2 * interval '1 second', i
      from template, generate_series(1, $1::int) as i
      returning id, anchor_time
    ), revisions as (
      insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
      select copied.id, r.revision, timing, run, task, time_zone, actor
      from copied, template join schedule_revisions r on r.schedule = template.id
    )
    insert into schedule_spans (schedule, span, revision, state, from_time, actor)
    select copied.id, 1, template.revision, 'ACTIVE', anchor_time, 'bench' from copied, template`,
    [SCHEDULES, Math.ceil(slots / SCHEDULES)],
  );
}

/** Starts a scheduler, and waits until it has caught up. */
async function catchUp(
  { stack, pool }: System,
  slots: number,
): Promise<{ perSecond: number; lateness: number[] }> {
  const scheduler = await stack.addScheduler('scheduler');
  while (!/"msg":"ready: firing"/.test(scheduler.log())) await delay(10);
  const { rows } = await pool.query<{ ready: Date }>('select max(ready_time) as ready from scheduler_terms');
  const readyMs = rows[0]!.ready.getTime();
  let created = 0;
  while (created < slots) {
    await delay(200);
    created = (await missedRuns(pool, readyMs)).created;
  }
  const { firstMs, lastMs } = await missedRuns(pool, readyMs);
  const live = await pool.query<{ late: number }>(
    `select (extract(epoch from create_time - nominal_time) * 1000)::float8 as late from runs
    where project = 'bench' and domain = 'bells' and nominal_time > to_timestamp($1::float8 / 1000)
      and nominal_time <= to_timestamp($2::float8 / 1000)`,
    [readyMs + START_MS, lastMs],
  );
  return { perSecond: (created * 1000) / (lastMs - firstMs), lateness: live.rows.map((row) => row.late) };
}

async function missedRuns(
  pool: pg.Pool,
  readyMs: number,
): Promise<{ created: number; firstMs: number; lastMs: number }> {
  const { rows } = await pool.query<{ created: number; firstMs: number; lastMs: number }>(
    `select count(*)::float8 as created, (extract(epoch from min(create_time)) * 1000)::float8 as "firstMs",
      (extract(epoch from max(create_time)) * 1000)::float8 as "lastMs"
    from runs where project = 'bench' and domain = 'bells' and nominal_time <= to_timestamp($1::float8 / 1000)`,
    [readyMs],
  );
  return rows[0]!;
}
