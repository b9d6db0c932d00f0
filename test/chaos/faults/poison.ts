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
    'Rows that nobody can read, and inputs of 10 MB. Their schedules are quarantined, stay so over a restart, and delay nobody else.',
  async run(scenario, length) {
    const { stack, bells } = scenario;
    await scenario.ringing();
    const count = length === 'full' ? 15 : 5;
    const poisoned = bells.splice(0, count).map(({ schedule }) => schedule);
    // That these are late, and how late, is the point.
    for (const schedule of poisoned) scenario.strangers.add(schedule);
    for (const [index, schedule] of poisoned.entries()) {
      await revise(scenario, schedule, POISONS[index % POISONS.length] ?? {});
    }
    await checkRefusal(scenario);

    const quarantined = async (): Promise<boolean> =>
      (await stack.scheduler.metric('carillon_scheduler_quarantined_schedules')) === count;
    await until(quarantined, 'all of them are quarantined', 10_000);
    const { schedule } = await scenario.schedules.getSchedule({
      name: `projects/${PROJECT}/domains/bells/schedules/${poisoned[0]}`,
    });
    if (!schedule?.status?.quarantineReason)
      throw new Error('the schedule does not say that it is in quarantine');
    await scenario.ringing();
    const killedAtMs = performance.now();
    await stack.scheduler.kill();
    await stack.scheduler.start();
    await scenario.firing(stack.scheduler);
    const outageMs = performance.now() - killedAtMs;
    await until(quarantined, 'they are quarantined again', 10_000);
    await delay(length === 'full' ? 20_000 : 3_000);
    await scenario.ringing();
    return {
      latenessLimitMs: outageMs + 2_000,
      figures: { quarantined: count, outageMs: Math.round(outageMs) },
    };
  },
};

const HUGE_RUN = create(RunSpecSchema, {
  task: 'chaos.huge',
  inputs: { content: { case: 'data', value: new Uint8Array(HUGE_BYTES) } },
});

/** What a row holds that no API would let through. */
interface Poison {
  readonly timing?: Uint8Array;
  readonly run?: Uint8Array;
}

/** No ScheduleSpec, garbage in its place, a date that never comes, a zone that is nowhere, and inputs of 10 MB. */
const POISONS: readonly Poison[] = [
  { timing: new Uint8Array() },
  { timing: Buffer.from('ffffffffffff', 'hex') },
  { timing: cron('0 0 30 2 *', 'UTC') },
  { timing: cron('* * * * *', 'Mars/Olympus_Mons') },
  { run: toBinary(RunSpecSchema, HUGE_RUN) },
];

function cron(expression: string, timeZone: string): Uint8Array {
  const pattern = { case: 'cron', value: { expression, timeZone } } as const;
  return toBinary(ScheduleSpecSchema, create(ScheduleSpecSchema, { pattern }));
}

/** Gives a schedule a revision that no API would let through. */
async function revise({ pool }: Scenario, schedule: string, { timing, run }: Poison): Promise<void> {
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
