import { useDatabase } from '@carillon/db/test/database.ts';
import { ScheduleState } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PARENT, refusal, type ServiceUnderTest, specOf, startSchedules } from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;
beforeAll(async () => {
  service = await startSchedules(database);
});
afterAll(async () => service[Symbol.asyncDispose]());

interface Span {
  readonly span: number;
  readonly revision: number;
  readonly state: string;
  readonly from: string;
  readonly to: string | null;
  readonly end_reason: string | null;
  readonly reason: string;
}

async function spansOf(name: string): Promise<Span[]> {
  const { rows } = await database.pool.query<Span>(
    `select p.span, p.revision, p.state, p.from_time::text as from, p.to_time::text as to, p.end_reason, p.reason
     from schedule_spans p join schedules s on s.id = p.schedule where s.schedule_id = $1 order by s.id, p.span`,
    [name.split('/').at(-1)],
  );
  return rows;
}

async function create(scheduleId: string, inactive = false): Promise<string> {
  const { schedule } = await service.client.createSchedule({
    parent: PARENT,
    scheduleId,
    schedule: { spec: specOf() },
    inactive,
  });
  return schedule!.name;
}

describe('a schedule', () => {
  it('is created active, and read back whole', async () => {
    const spec = specOf({ jitter: { seconds: 5n }, run: { task: 'reports.hourly', labels: { a: 'b' } } });
    const { schedule } = await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'whole',
      schedule: { spec, description: 'hourly reports', labels: { team: 'payments' } },
    });
    expect(schedule).toMatchObject({
      name: `${PARENT}/schedules/whole`,
      description: 'hourly reports',
      labels: { team: 'payments' },
      spec,
      revision: 1,
      activeRevision: 1,
      state: ScheduleState.ACTIVE,
      generation: 1n,
      etag: '1',
    });
    expect(schedule!.status).toMatchObject({ recurrence: 'every hour in UTC', quarantineReason: '' });
    expect(schedule!.status!.nextSlotTimes).toHaveLength(5);
    for (const time of schedule!.status!.nextSlotTimes) expect(Number(time.seconds) % 3600).toBe(0);
    for (const client of [service.client, service.jsonClient, service.grpcClient]) {
      const got = await client.getSchedule({ name: schedule!.name });
      expect(got.schedule).toEqual(schedule);
    }
    const { rows } = await database.pool.query(
      `select hash_slot, extract(epoch from anchor_time)::float8 as anchor, extract(epoch from create_time)::float8 as created
       from schedules where schedule_id = 'whole'`,
    );
    expect(rows[0].anchor).toBe(Math.floor(rows[0].created));
  });

  it('is created once', async () => {
    const name = await create('once');
    const error = await refusal(create('once'));
    expect(error.code).toBe(Code.AlreadyExists);
    expect((await service.client.getSchedule({ name })).schedule!.generation).toBe(1n);
  });

  it('is not created when it is only to be checked', async () => {
    const request = {
      parent: PARENT,
      scheduleId: 'checked',
      schedule: { spec: specOf() },
      validateOnly: true,
    };
    const { schedule } = await service.client.createSchedule(request);
    expect(schedule).toMatchObject({ state: ScheduleState.ACTIVE, generation: 1n });
    expect((await refusal(service.client.getSchedule({ name: schedule!.name }))).code).toBe(Code.NotFound);
  });

  it('goes through its states, and its history keeps them', async () => {
    const name = await create('states', true);
    expect((await service.client.getSchedule({ name })).schedule!.state).toBe(ScheduleState.INACTIVE);
    const notActive = await refusal(service.client.pauseSchedule({ name }));
    expect(notActive).toMatchObject({ code: Code.FailedPrecondition });

    const activated = await service.client.activateSchedule({ name });
    expect(activated.schedule).toMatchObject({
      state: ScheduleState.ACTIVE,
      activeRevision: 1,
      generation: 2n,
    });
    const paused = await service.client.pauseSchedule({ name, reason: 'month end' });
    expect(paused.schedule).toMatchObject({
      state: ScheduleState.PAUSED,
      activeRevision: 1,
      generation: 3n,
      pause: { actor: 'anonymous', reason: 'month end' },
      status: { nextSlotTimes: [] },
    });
    const unpaused = await service.client.unpauseSchedule({ name });
    expect(unpaused.schedule).toMatchObject({ state: ScheduleState.ACTIVE, generation: 4n });
    expect(unpaused.schedule!.pause).toBeUndefined();
    const deactivated = await service.client.deactivateSchedule({ name });
    expect(deactivated.schedule).toMatchObject({
      state: ScheduleState.INACTIVE,
      activeRevision: 0,
      generation: 5n,
      status: { nextSlotTimes: [] },
    });

    const spans = await spansOf(name);
    expect(spans.map(({ span, state, end_reason, reason }) => [span, state, end_reason, reason])).toEqual([
      [1, 'ACTIVE', 'PAUSED', ''],
      [2, 'PAUSED', 'UNPAUSED', 'month end'],
      [3, 'ACTIVE', 'DEACTIVATED', ''],
    ]);
    expect(spans[1]!.from).toBe(spans[0]!.to);
    expect(spans[2]!.from).toBe(spans[1]!.to);
  });

  it('is not written by what changes nothing', async () => {
    const name = await create('unchanged');
    for (const call of [
      () => service.client.activateSchedule({ name }),
      () => service.client.activateSchedule({ name, revision: 1 }),
      () => service.client.unpauseSchedule({ name }),
    ]) {
      expect((await call()).schedule!.generation).toBe(1n);
    }
    await service.client.pauseSchedule({ name, reason: 'first' });
    const again = await service.client.pauseSchedule({ name, reason: 'second' });
    expect(again.schedule).toMatchObject({ generation: 2n, pause: { reason: 'first' } });
    await service.client.deactivateSchedule({ name });
    expect((await service.client.deactivateSchedule({ name })).schedule!.generation).toBe(3n);
    expect(await spansOf(name)).toHaveLength(2);
  });

  it('keeps its history and gives its name away when it is deleted', async () => {
    const name = await create('deleted');
    const first = (await service.client.getSchedule({ name })).schedule!;
    const { schedule } = await service.client.deleteSchedule({ name });
    expect(schedule).toMatchObject({ uid: first.uid, state: ScheduleState.DELETED, generation: 2n });
    expect(schedule!.deleteTime).toEqual(schedule!.updateTime);
    expect((await refusal(service.client.getSchedule({ name }))).code).toBe(Code.NotFound);
    expect((await refusal(service.client.deleteSchedule({ name }))).code).toBe(Code.NotFound);
    expect((await service.client.deleteSchedule({ name, allowMissing: true })).schedule).toBeUndefined();
    expect((await refusal(service.client.listScheduleRevisions({ name }))).code).toBe(Code.NotFound);

    await create('deleted');
    const second = (await service.client.getSchedule({ name })).schedule!;
    expect(second.uid).not.toBe(first.uid);
    // Generations go on, so that readers of the change feed never take the old for the newer.
    expect(second.generation).toBe(3n);
    expect((await spansOf(name)).map(({ end_reason }) => end_reason)).toEqual(['DELETED', null]);
  });

  it('is not activated without a slot ahead', async () => {
    const past = specOf({ pattern: { case: 'at', value: { seconds: 1_700_000_000n } } });
    const request = { parent: PARENT, scheduleId: 'past', schedule: { spec: past } };
    const created = await refusal(service.client.createSchedule(request));
    expect(created.code).toBe(Code.FailedPrecondition);
    expect(created.findDetails(ErrorInfoSchema)[0]).toMatchObject({ reason: 'NO_FUTURE_SLOT' });
    const { schedule } = await service.client.createSchedule({ ...request, inactive: true });
    const name = schedule!.name;
    expect((await refusal(service.client.activateSchedule({ name }))).code).toBe(Code.FailedPrecondition);
    const bounded = specOf({ endTime: { seconds: 1_700_000_000n } });
    const update = { schedule: { name, spec: bounded } };
    expect((await service.client.updateSchedule(update)).schedule!.revision).toBe(2);
    expect((await refusal(service.client.activateSchedule({ name }))).code).toBe(Code.FailedPrecondition);
  });

  it('is refused to a stale etag', async () => {
    const name = await create('etags');
    await service.client.pauseSchedule({ name, etag: '1' });
    for (const call of [
      () => service.client.pauseSchedule({ name, etag: '1' }),
      () => service.client.unpauseSchedule({ name, etag: '1' }),
      () => service.client.activateSchedule({ name, etag: '01' }),
      () => service.client.deactivateSchedule({ name, etag: '3' }),
      () => service.client.deleteSchedule({ name, etag: '1' }),
      () => service.client.updateSchedule({ schedule: { name, etag: '1', spec: specOf() } }),
    ]) {
      expect((await refusal(call())).code).toBe(Code.Aborted);
    }
    expect((await service.client.getSchedule({ name })).schedule!.generation).toBe(2n);
  });

  it('tells what it is quarantined for', async () => {
    const name = await create('quarantined');
    await database.pool.query(
      `insert into schedule_quarantines (schedule, generation, reason)
       select id, generation, 'unknown zone' from schedules where schedule_id = 'quarantined'`,
    );
    expect((await service.client.getSchedule({ name })).schedule!.status!.quarantineReason).toBe(
      'unknown zone',
    );
  });

  it('is still read when this version can make nothing of its spec', async () => {
    const name = await create('unreadable', true);
    // Field 1 of ScheduleSpec, a Cron with the expression "nonsense".
    await database.pool.query(
      `insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
       select id, 2, '\\x0a0a0a086e6f6e73656e7365', r.run, 't', 'UTC', 'test'
       from schedules s join schedule_revisions r on r.schedule = s.id where schedule_id = 'unreadable'`,
    );
    await database.pool.query(`update schedules set revision = 2 where schedule_id = 'unreadable'`);
    const { schedule } = await service.client.getSchedule({ name });
    expect(schedule!.status!.quarantineReason).toContain('1 field where STANDARD has 5');
    expect(await refusal(service.client.activateSchedule({ name }))).toMatchObject({
      code: Code.FailedPrecondition,
    });
    expect((await service.client.activateSchedule({ name, revision: 1 })).schedule!.activeRevision).toBe(1);
  });
});

describe('history', () => {
  it('never changes, whoever tries', async () => {
    await create('history');
    for (const statement of [
      `update schedule_revisions set task = 'other'`,
      `delete from schedule_revisions`,
      `delete from schedule_spans`,
      `update schedule_spans set from_time = from_time - interval '1 hour'`,
      `update schedule_spans set to_time = clock_timestamp(), end_reason = 'PAUSED' where to_time is not null`,
    ]) {
      await expect(database.pool.query(statement), statement).rejects.toMatchObject({ code: '23001' });
    }
  });
});
