import { timestampMs } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { ScheduleService, Slot } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { SlotOutcome } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { Sent } from '@carillon/scheduler/runs-target.ts';
import { type Client, Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { journalRuns } from '../support/journal-runs.ts';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/outcomes/domains/test';
const everySecond = {
  spec: {
    pattern: { case: 'rate', value: { interval: { seconds: 1n } } },
    run: { task: 'test.tick' },
  },
} as const;

/** What the runs service says to a task that it does not know. */
function refused(): Sent {
  return {
    refused: {
      code: Code.InvalidArgument,
      message: 'no such task',
      reason: 'UNKNOWN_TASK',
      project: undefined,
      existing: undefined,
    },
  };
}

function start(target: JournalTarget) {
  return startSchedules(database.url, { runsTransport: journalRuns(target) });
}

async function slotsOf(
  client: Client<typeof ScheduleService>,
  name: string,
  outcomes: SlotOutcome[] = [],
): Promise<Slot[]> {
  return (await client.listSlots({ name, outcomes, pageSize: 1_000, orderBy: 'nominal_time' })).slots;
}

async function ledgerOf(uid: string) {
  const { rows } = await database.pool.query(
    `select l.outcome, l.reason, l.message, l.slots::int as slots, l.run_id as "runId", l.fire_time as "fireTime",
      extract(epoch from l.nominal_time)::int as nominal, extract(epoch from l.last_nominal_time)::int as last, l.lateness_ms::int as lateness
    from slot_ledger l join schedules s on s.id = l.schedule where s.uid = $1 order by l.nominal_time, l.record_time`,
    [uid],
  );
  return rows;
}

async function redrivesLeft(): Promise<number> {
  const { rows } = await database.pool.query('select count(*)::int as count from slot_redrives');
  return rows[0].count;
}

/** A schedule that has a few dead slots and is inactive by now; the target accepts everything again. */
async function withDeadSlots(
  client: Client<typeof ScheduleService>,
  target: JournalTarget,
  scheduleId: string,
) {
  target.refuse = refused;
  const { schedule } = await client.createSchedule({ parent, scheduleId, schedule: everySecond });
  const { name, uid } = schedule!;
  await until(async () => (await slotsOf(client, name, [SlotOutcome.DEAD])).length >= 3);
  await client.deactivateSchedule({ name });
  await until(async () => (await slotsOf(client, name, [SlotOutcome.PENDING])).length === 0);
  target.refuse = undefined;
  const dead = await slotsOf(client, name, [SlotOutcome.DEAD]);
  return { name, uid, dead };
}

test('tells what fired, from the runs service alone', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using _scheduler = await startScheduler(database.url, target);
  const { schedule } = await schedules.client.createSchedule({
    parent,
    scheduleId: 'fired',
    schedule: everySecond,
  });
  const { name, uid } = schedule!;
  await target.reached(3);
  await schedules.client.deactivateSchedule({ name });

  const fired = await slotsOf(schedules.client, name, [SlotOutcome.FIRED]);

  expect(fired.map(({ nominalTime }) => Number(nominalTime!.seconds))).toEqual(target.nominalSecs('fired'));
  for (const slot of fired) {
    const run = target.runs.get(slot.run);
    expect(timestampMs(slot.fireTime!)).toBe(run?.fireMs);
    expect(Number(slot.lateness!.seconds)).toBe(0);
  }
  expect(await ledgerOf(uid)).toEqual([]);
});

test('a dead slot that is redriven fires under its name, although its schedule was stopped before', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using app = await startScheduler(database.url, target);
  const { client } = schedules;
  const { name, uid, dead } = await withDeadSlots(client, target, 'redriven');
  const [first, ...others] = dead;
  expect(first).toMatchObject({ reason: 'INVALID_ARGUMENT', message: 'UNKNOWN_TASK: no such task', run: '' });
  const times = { case: 'times' as const, value: { nominalTimes: [first!.nominalTime!] } };

  const dry = await client.redriveSlots({ name, selection: times, dryRun: true });
  expect(dry.nominalTimes).toEqual([first!.nominalTime]);
  expect(await redrivesLeft()).toBe(0);
  await client.redriveSlots({ name, selection: times });
  await until(async () => (await redrivesLeft()) === 0);

  expect(target.nominalSecs('redriven')).toEqual([Number(first!.nominalTime!.seconds)]);
  const [fired, ...rest] = (await slotsOf(client, name)).slice(0, dead.length);
  expect(fired).toMatchObject({ outcome: SlotOutcome.FIRED, reason: 'REDRIVEN' });
  expect([...target.runs.keys()]).toEqual([fired!.run]);
  expect(timestampMs(fired!.fireTime!) - timestampMs(fired!.dueTime!)).toBeGreaterThan(0);
  expect(rest.map(({ outcome }) => outcome)).toEqual(others.map(() => SlotOutcome.DEAD));
  expect((await ledgerOf(uid)).slice(0, 2).map(({ outcome }) => outcome)).toEqual(['DEAD', 'FIRED']);
  expect(app.shards.terms[0]!.engine.outstandingSize).toBe(0);

  const again = await client.redriveSlots({ name, selection: times }).catch((error: unknown) => error);
  expect(again).toBeInstanceOf(ConnectError);
  expect(again).toMatchObject({ code: Code.FailedPrecondition });
  const range = await client.redriveSlots({ name, selection: { case: 'range', value: {} } });
  expect(range).toMatchObject({
    truncated: false,
    nominalTimes: others.map(({ nominalTime }) => nominalTime),
  });
  await until(async () => (await redrivesLeft()) === 0);
  expect(target.runs.size).toBe(dead.length);
});

test('a redrive that is refused again leaves its slot dead, with what was said last', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using _scheduler = await startScheduler(database.url, target);
  const { name, uid, dead } = await withDeadSlots(schedules.client, target, 'refused');
  target.refuse = (request) => ({
    refused: {
      code: Code.NotFound,
      message: `${request.spec?.task} is gone`,
      reason: 'GONE',
      project: undefined,
      existing: undefined,
    },
  });

  await schedules.client.redriveSlots({ name, selection: { case: 'range', value: {} } });
  await until(async () => (await redrivesLeft()) === 0);

  expect(target.runs.size).toBe(0);
  const after = await slotsOf(schedules.client, name, [SlotOutcome.DEAD]);
  expect(after).toHaveLength(dead.length);
  expect(after[0]).toMatchObject({ reason: 'NOT_FOUND', message: 'GONE: test.tick is gone' });
  expect(await ledgerOf(uid)).toHaveLength(dead.length);
});

test('a stop after the request ends a redrive that was not sent', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using _scheduler = await startScheduler(database.url, target, 'stopping', {
    CARILLON_BREAKER_RESET_MS: '100',
  });
  const { client } = schedules;
  const { name, dead } = await withDeadSlots(client, target, 'stopped');
  await client.activateSchedule({ name });
  target.failure = new ConnectError('away', Code.Unavailable);
  await client.redriveSlots({ name, selection: { case: 'range', value: {} } });
  const before = target.attempts;
  await until(() => target.attempts > before);
  const [waiting] = await slotsOf(client, name, [SlotOutcome.DEAD]);
  expect(waiting?.redriveTime).toBeDefined();

  await client.pauseSchedule({ name, reason: 'enough' });
  target.failure = undefined;
  await until(async () => (await redrivesLeft()) === 0);

  const after = await slotsOf(client, name, [SlotOutcome.DEAD]);
  expect(after.map(({ reason }) => reason)).toEqual(dead.map(() => 'REDRIVE_STOPPED'));
  const times = new Set(dead.map(({ nominalTime }) => Number(nominalTime!.seconds)));
  expect(target.nominalSecs('stopped').filter((nominalSec) => times.has(nominalSec))).toEqual([]);
});

test('a redrive outlives its leader, and a lost answer makes no second run', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  const { client } = schedules;
  const first = await startScheduler(database.url, target, 'mortal');
  const { name, dead } = await withDeadSlots(client, target, 'mortal');
  target.lostAnswer = new ConnectError('lost', Code.DeadlineExceeded);
  await client.redriveSlots({ name, selection: { case: 'range', value: {} } });
  await target.reached(dead.length);
  await first.close(AbortSignal.abort());
  target.lostAnswer = undefined;
  expect(await redrivesLeft()).toBe(dead.length);

  await using _second = await startScheduler(database.url, target, 'successor');
  await until(async () => (await redrivesLeft()) === 0);

  expect(target.runs.size).toBe(dead.length);
  const after = await slotsOf(client, name, [SlotOutcome.FIRED]);
  expect(after.map(({ reason }) => reason)).toEqual(dead.map(() => 'REDRIVEN'));
});

test('a redrive whose answer was lost is not called dead while its run may exist', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using _scheduler = await startScheduler(database.url, target, 'doubtful');
  const { client } = schedules;
  const { name, dead } = await withDeadSlots(client, target, 'doubtful');
  target.lostAnswer = new ConnectError('lost', Code.DeadlineExceeded);
  const times = { case: 'times' as const, value: { nominalTimes: [dead[0]!.nominalTime!] } };
  await client.redriveSlots({ name, selection: times });
  await target.reached(1);
  target.lostAnswer = undefined;
  target.refuse = refused;
  await until(async () => (await redrivesLeft()) === 0);

  const [fired] = await slotsOf(client, name, [SlotOutcome.FIRED]);
  expect(fired).toMatchObject({ nominalTime: dead[0]!.nominalTime, reason: 'REDRIVEN' });
});

test('a pause that has ended has one ledger row, and its slots tell who paused them', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using _scheduler = await startScheduler(database.url, target);
  const { client } = schedules;
  const { schedule } = await client.createSchedule({ parent, scheduleId: 'paused', schedule: everySecond });
  const { name, uid } = schedule!;
  await target.reached(1);
  await client.pauseSchedule({ name, reason: 'maintenance' });
  const skipped = await until(async () => {
    const slots = await slotsOf(client, name, [SlotOutcome.SKIPPED]);
    return slots.filter(({ recordTime }) => recordTime === undefined).length >= 2 && slots;
  });
  expect(skipped.at(-1)).toMatchObject({ reason: 'PAUSED', pause: { reason: 'maintenance' } });

  await client.unpauseSchedule({ name });
  const row = await until(async () =>
    (await ledgerOf(uid)).find(({ outcome, slots }) => outcome === 'SKIPPED' && slots > 1),
  );
  await client.deactivateSchedule({ name });

  expect(row).toMatchObject({ reason: 'PAUSED', message: expect.stringMatching(/: maintenance$/) });
  expect(row.slots).toBe(row.last - row.nominal + 1);
  const during = (await slotsOf(client, name)).filter(
    ({ nominalTime }) =>
      Number(nominalTime!.seconds) >= row.nominal && Number(nominalTime!.seconds) <= row.last,
  );
  expect(during).toHaveLength(row.slots);
  for (const slot of during) {
    expect(slot).toMatchObject({
      outcome: SlotOutcome.SKIPPED,
      reason: 'PAUSED',
      pause: { reason: 'maintenance' },
      settledWith: { slots: BigInt(row.slots) },
    });
  }
  const nominals = new Set(target.nominalSecs('paused'));
  expect(during.some(({ nominalTime }) => nominals.has(Number(nominalTime!.seconds)))).toBe(false);
});

test('with CARILLON_LEDGER=all the ledger records what fired', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  await using _scheduler = await startScheduler(database.url, target, 'all', { CARILLON_LEDGER: 'all' });
  const { client } = schedules;
  const { schedule } = await client.createSchedule({ parent, scheduleId: 'all', schedule: everySecond });
  const { name, uid } = schedule!;

  const rows = await until(async () => {
    const found = await ledgerOf(uid);
    return found.length >= 3 && found;
  });
  await client.deactivateSchedule({ name });

  const runs = [...target.runs.values()].slice(0, rows.length);
  expect(rows.map(({ outcome, reason }) => `${outcome} ${reason}`)).toEqual(rows.map(() => 'FIRED CREATED'));
  expect(rows.map(({ runId }) => runId)).toEqual(runs.map(({ request }) => request.runId));
  expect(rows.map(({ nominal }) => nominal * 1000)).toEqual(runs.map(({ nominalMs }) => nominalMs));
  for (const { lateness } of rows) expect(lateness).toBeGreaterThanOrEqual(0);
  const [slot] = await slotsOf(client, name, [SlotOutcome.FIRED]);
  expect(slot).toMatchObject({ reason: '', run: runs[0]!.name });
});

test('without a scheduler slots are pending, and without the runs service nothing is made up', async () => {
  const target = new JournalTarget();
  await using schedules = await start(target);
  const { client } = schedules;
  const { schedule } = await client.createSchedule({ parent, scheduleId: 'pending', schedule: everySecond });
  const { name } = schedule!;
  await database.pool.query(`update scheduler_leases set owner = null`);
  const slots = await until(async () => {
    const found = await slotsOf(client, name);
    return found.length >= 2 && found;
  });
  expect(slots[0]).toMatchObject({ outcome: SlotOutcome.PENDING, reason: 'NO_LEADER' });
  const ahead = await client.listSlots({
    name,
    fromTime: { seconds: BigInt(Math.floor(Date.now() / 1000) + 60) },
    toTime: { seconds: BigInt(Math.floor(Date.now() / 1000) + 90) },
    pageSize: 1,
  });
  expect(ahead.slots).toMatchObject([{ outcome: SlotOutcome.PENDING, reason: 'NOT_DUE' }]);
  expect(ahead.nextPageToken).not.toBe('');

  const nobody = createRouterTransport(({ service }) => {
    service(RunService, {
      batchGetRuns: () => {
        throw new ConnectError('nobody is there', Code.Unavailable);
      },
    });
  });
  await using alone = await startSchedules(database.url, { runsTransport: nobody });
  const failure = await alone.client.listSlots({ name }).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: Code.Unavailable,
    rawMessage: 'the runs service does not answer, so what ran cannot be told',
  });
  await client.deleteSchedule({ name });
});
