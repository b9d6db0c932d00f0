import type { Clock } from '@carillon/core/clock.ts';
import { runName } from '@carillon/core/run-name.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { BEAT_MS } from '@carillon/scheduler/duties.ts';
import { systemClock } from '@carillon/server';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { sleep, until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/bells/domains/test';

function everySecond(task = 'test.tick') {
  return {
    spec: { pattern: { case: 'rate', value: { interval: { seconds: 1n } } }, run: { task } },
  } as const;
}

/** Every second from the first to the last, without a gap. */
function expectContiguous(nominalSecs: readonly number[]): void {
  const first = nominalSecs[0]!;
  expect(nominalSecs).toEqual(nominalSecs.map((_, index) => first + index));
}

describe('the scheduler', () => {
  test('fires each slot at its time, once, under its name', async () => {
    const target = new JournalTarget();
    await using schedules = await startSchedules(database.url);
    await using _scheduler = await startScheduler(database.url, target);
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'tick',
      schedule: everySecond(),
    });

    await target.reached(4);

    const secs = target.nominalSecs('tick');
    expectContiguous(secs);
    for (const run of target.runs.values()) {
      expect(run.scheduleUid).toBe(schedule!.uid);
      expect(run.fireMs).toBeGreaterThanOrEqual(run.nominalMs);
      expect(run.request.runId).toBe(
        runName({
          project: 'bells',
          domain: 'test',
          schedule: 'tick',
          nominalSec: run.nominalMs / 1000,
          kind: 'slot',
          id: '',
        }),
      );
    }
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });

  test('needs no beat to fire the next slot', async () => {
    const target = new JournalTarget();
    await using schedules = await startSchedules(database.url);
    const clock: Clock = {
      ...systemClock,
      // Nothing that is done once a second is ever done.
      after: (delayMs, callback) =>
        delayMs === BEAT_MS ? { cancel: () => undefined } : systemClock.after(delayMs, callback),
    };
    await using _scheduler = await startScheduler(database.url, target, 'beatless', {}, { clock });
    const pattern = { case: 'rate', value: { interval: { seconds: 3n } } } as const;
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'every-third',
      schedule: { spec: { pattern, run: { task: 'test.tick' } } },
    });

    await target.reached(3);

    for (const { fireMs, nominalMs } of target.runs.values()) expect(fireMs - nominalMs).toBeLessThan(900);
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });

  test('creates no run after a deactivation was acknowledged, beyond those in flight', async () => {
    const target = new JournalTarget();
    await using schedules = await startSchedules(database.url);
    await using _scheduler = await startScheduler(database.url, target);
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'stop',
      schedule: everySecond(),
    });
    await target.reached(2);

    await schedules.client.deactivateSchedule({ name: schedule!.name });
    const acknowledgedMs = Date.now();
    await sleep(2_500);

    for (const run of target.runs.values()) expect(run.nominalMs).toBeLessThan(acknowledgedMs + 100);
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });

  test('catches up after an abrupt end, and fires nothing twice', async () => {
    const target = new JournalTarget();
    await using schedules = await startSchedules(database.url);
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'again',
      schedule: everySecond(),
    });
    for (let i = 0; i < 3; i++) {
      const scheduler = await startScheduler(database.url, target);
      await target.reached(target.runs.size + 2);
      await scheduler.close(AbortSignal.abort());
      await sleep(1_500);
    }
    {
      await using _scheduler = await startScheduler(database.url, target);
      const now = Math.floor(Date.now() / 1000);
      await until(() => (target.nominalSecs('again').at(-1) ?? 0) >= now);
    }

    const secs = target.nominalSecs('again');
    expectContiguous(secs);
    expect(secs[0]).toBeLessThanOrEqual(Number(schedule!.createTime!.seconds) + 1);
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });

  test('hands over to a standby without a gap', async () => {
    const target = new JournalTarget();
    await using schedules = await startSchedules(database.url);
    await using blue = await startScheduler(database.url, target, 'blue');
    await until(() => blue.shards.terms.length > 0);
    await using green = await startScheduler(database.url, target, 'green');
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'relay',
      schedule: everySecond(),
    });
    await target.reached(2);
    expect(green.shards.terms).toEqual([]);

    await blue.release();
    await blue.drain(AbortSignal.timeout(5_000));
    await blue.close(AbortSignal.abort());
    await until(() => green.shards.terms.length > 0);
    await target.reached(target.runs.size + 2);

    expectContiguous(target.nominalSecs('relay'));
    const late = [...target.runs.values()].map((run) => run.fireMs - run.nominalMs);
    expect(Math.max(...late)).toBeLessThan(1_000);
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });

  test('keeps slots while the runs service is away, and a lost answer makes no second run', async () => {
    const target = new JournalTarget();
    await using schedules = await startSchedules(database.url);
    await using _scheduler = await startScheduler(database.url, target, 'patient', {
      CARILLON_BREAKER_RESET_MS: '200',
    });
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'patient',
      schedule: everySecond(),
    });
    await target.reached(1);
    target.failure = new ConnectError('away', Code.Unavailable);
    await until(() => target.attempts >= 6);
    target.failure = undefined;
    target.lostAnswer = new ConnectError('lost', Code.DeadlineExceeded);
    await target.reached(target.runs.size + 2);
    target.lostAnswer = undefined;
    const now = Math.floor(Date.now() / 1000);
    await until(() => (target.nominalSecs('patient').at(-1) ?? 0) > now + 1);

    expectContiguous(target.nominalSecs('patient'));
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });

  test('settles what can never run as dead, in the ledger', async () => {
    const target = new JournalTarget();
    target.refuse = (request) => ({
      refused: {
        code: Code.InvalidArgument,
        message: `no task ${request.spec?.task}`,
        reason: 'INVALID_ARGUMENT',
        project: undefined,
        existing: undefined,
      },
    });
    await using schedules = await startSchedules(database.url);
    await using _scheduler = await startScheduler(database.url, target);
    const { schedule } = await schedules.client.createSchedule({
      parent,
      scheduleId: 'dead',
      schedule: everySecond(),
    });

    const rows = await until(async () => {
      const found = await database.pool.query(
        `select l.outcome, l.reason, l.message from slot_ledger l join schedules s on s.id = l.schedule
        where s.uid = $1 order by l.nominal_time`,
        [schedule!.uid],
      );
      return found.rows.length >= 2 && found.rows;
    });

    expect(rows[0]).toEqual({
      outcome: 'DEAD',
      reason: 'INVALID_ARGUMENT',
      message: 'INVALID_ARGUMENT: no task test.tick',
    });
    await schedules.client.deleteSchedule({ name: schedule!.name });
  });
});
