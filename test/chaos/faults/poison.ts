import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Fault } from '../fault.ts';
import { PROJECT, type Scenario, until } from '../scenario.ts';

const HUGE_BYTES = 10_000_000;

export const poison: Fault = {
  name: 'poison',
  numbers: [25],
  story:
    'Rows that nobody can read, and inputs of 10 MB. Those schedules are quarantined, or their slots dead, also after a restart; nobody else is delayed.',
  async run(scenario, length) {
    const { pool, stack, bells } = scenario;
    await scenario.ringing();
    const count = length === 'full' ? 12 : 4;
    const [huge = '', ...unreadable] = bells.splice(0, count + 1).map(({ schedule }) => schedule);
    // That these are late, and how late, is the point.
    for (const schedule of [huge, ...unreadable]) scenario.strangers.add(schedule);
    for (const [index, schedule] of unreadable.entries()) {
      await revise(scenario, schedule, { timing: POISONS[index % POISONS.length] });
    }
    await revise(scenario, huge, { run: toBinary(RunSpecSchema, HUGE_RUN) });
    await checkRefusal(scenario);

    const quarantined = async (): Promise<boolean> =>
      (await stack.scheduler.metric('carillon_scheduler_quarantined_schedules')) === count;
    await until(quarantined, 'all of them are quarantined', 10_000);
    const { schedule } = await scenario.schedules.getSchedule({
      name: `projects/${PROJECT}/domains/bells/schedules/${unreadable[0]}`,
    });
    if (!schedule?.status?.quarantineReason)
      throw new Error('the schedule does not say that it is in quarantine');
    await scenario.ringing();
    await stack.scheduler.kill();
    await stack.scheduler.start();
    await scenario.firing(stack.scheduler);
    await until(quarantined, 'they are quarantined again', 10_000);
    await delay(length === 'full' ? 20_000 : 3_000);
    await scenario.ringing();

    const { rows } = await pool.query<{ reason: string; slots: number }>(
      `select l.reason, sum(l.slots)::int as slots from slot_ledger l join schedules s on s.id = l.schedule
      where s.project = $1 and s.schedule_id = $2 and l.outcome = 'DEAD' group by 1`,
      [PROJECT, huge],
    );
    const [dead] = rows;
    if (dead === undefined) throw new Error('the slots with 10 MB of inputs are not dead');
    return { latenessLimitMs: 4_000, figures: { quarantined: count, dead: dead.slots } };
  },
};

/** What stands where a ScheduleSpec should be: nothing, garbage, a date that never comes, and a zone that is nowhere. */
const POISONS: readonly Uint8Array[] = [
  new Uint8Array(),
  Buffer.from('ffffffffffff', 'hex'),
  cron('0 0 30 2 *', 'UTC'),
  cron('* * * * *', 'Mars/Olympus_Mons'),
];

const HUGE_RUN = create(RunSpecSchema, {
  task: 'chaos.huge',
  inputs: { content: { case: 'data', value: new Uint8Array(HUGE_BYTES) } },
});

function cron(expression: string, timeZone: string): Uint8Array {
  const pattern = { case: 'cron', value: { expression, timeZone } } as const;
  return toBinary(ScheduleSpecSchema, create(ScheduleSpecSchema, { pattern }));
}

/** Gives a schedule a revision that no API would let through. */
async function revise(
  { pool }: Scenario,
  schedule: string,
  { timing, run }: { readonly timing?: Uint8Array | undefined; readonly run?: Uint8Array },
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ id: string; revision: number }>(
      `update schedules set generation = generation + 1, revision = revision + 1, xid = pg_current_xact_id()
      where project = $1 and schedule_id = $2 and delete_time is null returning id, revision`,
      [PROJECT, schedule],
    );
    const { id, revision } = rows[0] ?? {};
    await client.query(
      `insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
      select schedule, $2, coalesce($3, timing), coalesce($4, run), task, time_zone, 'chaos'
      from schedule_revisions where schedule = $1 and revision = $2 - 1`,
      [id, revision, timing && Buffer.from(timing), run && Buffer.from(run)],
    );
    await client.query(
      `update schedule_spans set to_time = clock_timestamp(), end_reason = 'REVISED' where schedule = $1 and to_time is null`,
      [id],
    );
    await client.query(
      `insert into schedule_spans (schedule, span, revision, state, from_time, actor)
      select schedule, span + 1, $2, 'ACTIVE', to_time, 'chaos'
      from schedule_spans where schedule = $1 order by span desc limit 1`,
      [id, revision],
    );
    await client.query('commit');
    client.release();
  } catch (error) {
    client.release(true);
    throw error;
  }
}

/** @throws Error unless a caller with inputs of 10 MB is told that they are too much */
async function checkRefusal({ schedules }: Scenario): Promise<void> {
  const answer = await schedules
    .createSchedule({
      parent: `projects/${PROJECT}/domains/bells`,
      scheduleId: 'huge',
      schedule: {
        spec: { pattern: { case: 'rate', value: { interval: { seconds: 1n } } }, run: HUGE_RUN },
      },
    })
    .then(
      () => undefined,
      (error: unknown) => ConnectError.from(error),
    );
  if (answer?.code !== Code.ResourceExhausted)
    throw new Error(`a caller with 10 MB of inputs is told: ${answer?.message ?? 'all is well'}`);
}
