import type { Fault } from '../fault.ts';
import { PROJECT, until } from '../scenario.ts';

const DAY_SEC = 86_400;
const WINDOW_SEC = 3_600;

export const monthLongGap: Fault = {
  name: 'month-long-gap',
  numbers: [26],
  story:
    'A schedule of one slot a second that nobody served for 30 days. The others are on time; what is too old is counted.',
  async run(scenario) {
    const { pool, stack, schedules } = scenario;
    await scenario.ringing();
    scenario.strangers.add('ancient');
    await schedules.createSchedule({
      parent: `projects/${PROJECT}/domains/bells`,
      scheduleId: 'ancient',
      inactive: true,
      schedule: {
        spec: {
          pattern: { case: 'rate', value: { interval: { seconds: 1n } } },
          catchUp: { window: { seconds: BigInt(WINDOW_SEC) } },
          run: { task: 'chaos.ring' },
        },
      },
    });
    // As it would stand there: active since 30 days ago, and the scheduler sees it for the first time.
    const { rows } = await pool.query<{ from: number }>(
      `with activated as (
        update schedules set generation = generation + 1, xid = pg_current_xact_id(),
          anchor_time = date_trunc('second', clock_timestamp()) - interval '30 days'
        where project = $1 and schedule_id = 'ancient' returning id, revision, anchor_time
      )
      insert into schedule_spans (schedule, span, revision, state, from_time, actor)
      select id, 1, revision, 'ACTIVE', anchor_time, 'chaos' from activated
      returning extract(epoch from from_time)::float8 as from`,
      [PROJECT],
    );
    const fromSec = rows[0]?.from ?? 0;
    const settled = async () => {
      const found = await pool.query<{ missed: number; runs: number; last: number }>(
        `select (select coalesce(sum(l.slots), 0)::float8 from slot_ledger l join schedules s on s.id = l.schedule
            where s.schedule_id = 'ancient' and l.outcome = 'MISSED' and l.reason = 'BEYOND_WINDOW') as missed,
          count(*)::float8 as runs, coalesce(extract(epoch from max(nominal_time)), 0)::float8 as last
        from runs where project = $1 and schedule_id = 'ancient'`,
        [PROJECT],
      );
      return found.rows[0] ?? { missed: 0, runs: 0, last: 0 };
    };
    await until(
      async () => {
        const { missed, runs, last } = await settled();
        return last > Date.now() / 1000 - 3 && missed + runs >= last - fromSec;
      },
      'every slot of the month has an outcome',
      120_000,
    );
    const { missed, runs, last } = await settled();
    if (missed + runs !== last - fromSec)
      throw new Error(`${missed} missed and ${runs} run, of ${last - fromSec} slots`);
    if (missed < 29 * DAY_SEC) throw new Error(`only ${missed} slots were missed`);
    const memory = await stack.scheduler.metric('process_resident_memory_bytes');
    return {
      latenessLimitMs: 2_000,
      figures: { missed, caughtUp: runs, memoryMb: Math.round(memory / 1e6) },
    };
  },
};
