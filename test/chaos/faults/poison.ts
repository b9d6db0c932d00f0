import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from '../fault.ts';
import { PROJECT, until } from '../scenario.ts';

export const poison: Fault = {
  name: 'poison',
  numbers: [25],
  story:
    'Rows that nobody can read. Their schedules are quarantined, stay so over a restart, and delay nobody else.',
  async run(scenario, length) {
    const { pool, stack, bells } = scenario;
    await scenario.ringing();
    const count = length === 'full' ? 10 : 3;
    const poisoned = bells.splice(0, count).map(({ schedule }) => schedule);
    // That these are late, and how late, is the point.
    for (const schedule of poisoned) scenario.strangers.add(schedule);
    for (const [index, schedule] of poisoned.entries()) {
      await pool.query(
        `with target as (
          update schedules set generation = generation + 1, revision = revision + 1, xid = pg_current_xact_id()
          where project = $1 and schedule_id = $2 and delete_time is null returning id, revision
        ), revised as (
          insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
          select target.id, target.revision, $3, r.run, r.task, r.time_zone, 'chaos'
          from target join schedule_revisions r on r.schedule = target.id and r.revision = target.revision - 1
          returning schedule, revision
        ), ended as (
          update schedule_spans p set to_time = clock_timestamp(), end_reason = 'REVISED'
          from target where p.schedule = target.id and p.to_time is null returning p.schedule, p.span, p.to_time
        )
        select schedule, revision from revised`,
        [PROJECT, schedule, POISONS[index % POISONS.length]],
      );
      await pool.query(
        `insert into schedule_spans (schedule, span, revision, state, from_time, actor)
        select s.id, p.span + 1, s.revision, 'ACTIVE', p.to_time, 'chaos'
        from schedules s join schedule_spans p on p.schedule = s.id
        where s.project = $1 and s.schedule_id = $2 and p.span = (select max(span) from schedule_spans where schedule = s.id)`,
        [PROJECT, schedule],
      );
      // The span came after the schedule's row was seen: touch it once more, as a writer in one transaction would.
      await pool.query(
        'update schedules set generation = generation + 1, xid = pg_current_xact_id() where project = $1 and schedule_id = $2',
        [PROJECT, schedule],
      );
    }
    const quarantined = async (): Promise<boolean> =>
      (await stack.scheduler.metric('carillon_scheduler_quarantined_schedules')) === count;
    await until(quarantined, 'all of them are quarantined', 10_000);
    const { schedule } = await scenario.schedules.getSchedule({
      name: `projects/${PROJECT}/domains/bells/schedules/${poisoned[0]}`,
    });
    if (!schedule?.status?.quarantineReason)
      throw new Error('the schedule does not say that it is in quarantine');
    await scenario.ringing();
    await stack.scheduler.kill();
    await stack.scheduler.start();
    await scenario.firing(stack.scheduler);
    await until(quarantined, 'they are quarantined again', 10_000);
    await delay(3_000);
    await scenario.ringing();
    return { latenessLimitMs: 4_000, figures: { quarantined: count } };
  },
};

/** Bytes where a ScheduleSpec should be: none, garbage, and a cron expression that never fires. */
const POISONS: readonly Buffer[] = [
  Buffer.alloc(0),
  Buffer.from('ffffffffffff', 'hex'),
  // Field 1, a Cron with expression "0 0 30 2 *".
  Buffer.concat([Buffer.from([0x0a, 12, 0x0a, 10]), Buffer.from('0 0 30 2 *')]),
];
