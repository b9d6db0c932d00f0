import { setTimeout as delay } from 'node:timers/promises';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { ReplicaState, SchedulerService } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { DatabaseServer } from '@carillon/test/support/database-server.ts';
import type { ServiceProcess } from '@carillon/test/support/service-process.ts';
import { createClient } from '@connectrpc/connect';
import type pg from 'pg';
import { print, quantiles, rate, rounded } from './print.ts';
import { median, quantile } from './quantile.ts';
import { createBells, PARENT, type System, withSystem } from './system.ts';

/**
 * How long nobody fires when one scheduler hands over to another, with many schedules: two schedulers hand over to each other in turns
 * while a hundred bells ring each second, and just before they do.
 *
 * - gap: from the release of the lease to the next grant, by the database's clock;
 * - lateness of the slots that fell due from half a second before each hand-over until three seconds after it;
 * - beside it the time in which a scheduler that stood by nowhere loads the same schedules, from its grant to its first shot.
 */
export async function run(args: readonly string[]): Promise<object> {
  const schedules = Number(args[0] ?? 100_000);
  if (!(schedules >= 1)) throw new RangeError('usage: npm run bench -- take-over [schedules]');
  const server = await DatabaseServer.start();
  try {
    return await withSystem(await server.copy('take_over'), (system) => measure(system, schedules), {
      startScheduler: false,
    });
  } finally {
    await server.remove();
  }
}

const BELLS = 100;
const HAND_OVERS = 6;
/** Expressions, and so compiled timings: one for each minute of a day. */
const EXPRESSIONS = 1_440;

async function measure({ stack, pool, schedules }: System, count: number): Promise<object> {
  await createBells(schedules, 'bell', BELLS);
  await createDaily(pool, schedules, count);
  const first = await stack.addScheduler('first');
  const coldMs = await untilFiring(first);
  print(`loaded ${rate(count)} schedules without a standby`, `${rounded(coldMs)} ms`);
  const second = await stack.addScheduler('second');
  while (!/"msg":"standby-ready"/.test(second.log())) await delay(50);
  await delay(3_000);

  const gaps: number[] = [];
  const lateness: number[] = [];
  let [leader, standby] = [first, second];
  for (let round = 0; round < HAND_OVERS; round++) {
    // Just before the bells ring: so that they fall due while nobody leads.
    await delay(1_970 - (Date.now() % 1_000));
    const handedOverMs = Date.now();
    gaps.push(await handOver(leader));
    await delay(4_500);
    const late = await latenessBetween(pool, handedOverMs - 500, handedOverMs + 3_000);
    lateness.push(quantile(late, 1));
    print(
      `hand-over ${round + 1}: gap, and its worst slot`,
      `${rounded(gaps.at(-1)!)} ms, ${rounded(lateness.at(-1)!)} ms`,
    );
    [leader, standby] = [standby, leader];
    await standbyReady(standby);
  }
  print('gap', quantiles(gaps));
  print('worst lateness of a hand-over', quantiles(lateness));
  const ratio = coldMs / median(lateness);
  print('the load takes as many times as long', ratio.toFixed(1));
  return {
    schedules: count,
    loadMs: rounded(coldMs),
    gapMs: rounded(median(gaps)),
    worstLatenessMs: rounded(median(lateness)),
    ratio: rounded(ratio),
  };
}

/** Copies of one schedule of each minute of the day, in the database itself: a million by the API would take most of an hour. */
async function createDaily(pool: pg.Pool, schedules: System['schedules'], count: number): Promise<void> {
  const templates = Math.min(EXPRESSIONS, count);
  let next = 0;
  const creator = async (): Promise<void> => {
    while (next < templates) {
      const minute = next++;
      await schedules.createSchedule({
        parent: PARENT,
        scheduleId: `daily-${minute}`,
        schedule: {
          spec: {
            pattern: {
              case: 'cron',
              value: {
                expression: `${minute % 60} ${Math.floor(minute / 60)} * * *`,
                timeZone: 'Europe/Berlin',
              },
            },
            run: { task: 'bench.ring' },
          },
        },
      });
    }
  };
  await Promise.all(Array.from({ length: 16 }, creator));
  await pool.query(
    `with template as (
      select row_number() over (order by id) - 1 as number, id, generation, revision, anchor_time
      from schedules where schedule_id like 'daily-%'
    ), copied as (
      insert into schedules (uid, project, domain, schedule_id, generation, revision, anchor_time, hash_slot)
      select gen_random_uuid(), 'bench', 'bells', 'copy-' || i, generation, revision, anchor_time, (i * 7919) % 1024
      from generate_series(0, $1::int - 1) as i join template on number = i % $2::int
      returning id, substring(schedule_id from 6)::int as i
    ), pair as (
      select copied.id, template.id as template from copied join template on number = i % $2::int
    ), revisions as (
      insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
      select pair.id, revision, timing, run, task, time_zone, actor from pair join schedule_revisions on schedule = template
      returning schedule
    )
    insert into schedule_spans (schedule, span, revision, state, from_time, actor)
    select pair.id, span, s.revision, state, from_time, actor from pair join schedule_spans s on s.schedule = template`,
    [Math.max(0, count - templates), templates],
  );
  await pool.query('analyze');
}

/** From the grant of a scheduler to its first shot, by what it logs. */
async function untilFiring(scheduler: ServiceProcess): Promise<number> {
  const timeOf = (message: string): number | undefined => {
    const line = scheduler
      .log()
      .split('\n')
      .find((text) => text.includes(`"msg":"${message}"`));
    return line === undefined ? undefined : Date.parse((JSON.parse(line) as { time: string }).time);
  };
  for (;;) {
    const leadingMs = timeOf('leading');
    const firingMs = timeOf('ready: firing');
    if (leadingMs !== undefined && firingMs !== undefined) return firingMs - leadingMs;
    await delay(50);
  }
}

/** Has the leader hand over, and answers for how long nobody led. */
async function handOver(leader: ServiceProcess): Promise<number> {
  return await asked(leader, async (client) => {
    const { gap } = await client.handOver({});
    if (!gap) throw new Error('the gap is not known');
    return durationMs(gap);
  });
}

/** Resolves when a replica has everything that it needs to take over. */
async function standbyReady(replica: ServiceProcess): Promise<void> {
  await asked(replica, async (client) => {
    while ((await client.getStatus({})).replica?.state !== ReplicaState.STANDBY_READY) await delay(50);
  });
}

async function asked<T>(
  replica: ServiceProcess,
  ask: (client: ReturnType<typeof createClient<typeof SchedulerService>>) => Promise<T>,
): Promise<T> {
  const transport = createCarillonTransport({ baseUrl: replica.url });
  try {
    return await ask(createClient(SchedulerService, transport));
  } finally {
    transport.close();
  }
}

async function latenessBetween(pool: pg.Pool, fromMs: number, throughMs: number): Promise<number[]> {
  const { rows } = await pool.query<{ late: number }>(
    `select (extract(epoch from create_time - nominal_time) * 1000)::float8 as late from runs
    where project = 'bench' and nominal_time between to_timestamp($1::float8 / 1000) and to_timestamp($2::float8 / 1000)`,
    [fromMs, throughMs],
  );
  return rows.map((row) => row.late);
}
