import { create } from '@bufbuild/protobuf';
import { useDatabase } from '@carillon/db/test/database.ts';
import { CronSchema, ScheduleState } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ScheduleChange } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { BadRequestSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  fingerprint,
  PARENT,
  refusal,
  type ServiceUnderTest,
  specOf,
  startSchedules,
} from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;
beforeAll(async () => {
  service = await startSchedules(database);
});
afterAll(async () => service[Symbol.asyncDispose]());

const daily = specOf({ pattern: { case: 'cron', value: create(CronSchema, { expression: '0 9 * * *' }) } });

async function created(scheduleId: string, inactive = false): Promise<string> {
  const request = {
    parent: PARENT,
    scheduleId,
    schedule: { spec: specOf(), labels: { team: 'a' } },
    inactive,
  };
  return (await service.client.createSchedule(request)).schedule!.name;
}

describe('an update', () => {
  it('of the spec is a new revision, which takes the place of the active one at one instant', async () => {
    const name = await created('revised');
    const { schedule, change } = await service.client.updateSchedule({
      schedule: { name, spec: daily, labels: { team: 'a' } },
    });
    expect(change).toBe(ScheduleChange.UPDATED);
    expect(schedule).toMatchObject({ revision: 2, activeRevision: 2, generation: 2n, spec: daily });
    const { rows } = await database.pool.query(
      `select revision, state, end_reason, from_time = lag(to_time) over (order by span) as joined from schedule_spans
       where schedule = (select id from schedules where schedule_id = 'revised') order by span`,
    );
    expect(rows).toEqual([
      { revision: 1, state: 'ACTIVE', end_reason: 'REVISED', joined: null },
      { revision: 2, state: 'ACTIVE', end_reason: null, joined: true },
    ]);
    const { revisions } = await service.client.listScheduleRevisions({ name });
    expect(revisions.map((revision) => [revision.revision, revision.spec, revision.actor])).toEqual([
      [2, daily, 'anonymous'],
      [1, specOf(), 'anonymous'],
    ]);
  });

  it('that changes nothing writes nothing', async () => {
    const name = await created('same');
    const before = await fingerprint(database.pool);
    const spec = specOf();
    for (const request of [
      { schedule: { name, spec, labels: { team: 'a' } } },
      { schedule: { name, spec }, updateMask: { paths: ['spec'] } },
      {
        schedule: { name, spec: { run: { task: 'reports.hourly' } } },
        updateMask: { paths: ['spec.run.task'] },
      },
      { schedule: { name, spec, labels: { team: 'a' } }, allowMissing: true },
    ]) {
      expect((await service.client.updateSchedule(request)).change).toBe(ScheduleChange.UNCHANGED);
    }
    expect(await fingerprint(database.pool)).toBe(before);
  });

  it('that changes nothing is fine for a one-shot that has passed', async () => {
    // Slots are whole seconds: this one lies ahead now, and will not in three seconds.
    const { rows } = await database.pool.query<{ at: string }>(
      `select ceil(extract(epoch from clock_timestamp()) + 1)::bigint as at`,
    );
    const spec = specOf({
      pattern: {
        case: 'at',
        value: { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(rows[0]!.at), nanos: 0 },
      },
    });
    const { schedule } = await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'once',
      schedule: { spec },
    });
    await database.pool.query(
      `select pg_sleep(extract(epoch from to_timestamp($1) - clock_timestamp()) + 0.01)`,
      [rows[0]!.at],
    );
    const { name } = schedule!;
    expect((await service.client.updateSchedule({ schedule: { name, spec } })).change).toBe(
      ScheduleChange.UNCHANGED,
    );
    const later = { ...spec, run: { ...spec.run!, task: 'other' } };
    const error = await refusal(service.client.updateSchedule({ schedule: { name, spec: later } }));
    expect(error.code).toBe(Code.FailedPrecondition);
  });

  it('of description and labels makes no revision', async () => {
    const name = await created('described');
    const { schedule } = await service.client.updateSchedule({
      schedule: { name, description: 'new', labels: JSON.parse('{"b":"c"}') },
      updateMask: { paths: ['description', 'labels'] },
    });
    expect(schedule).toMatchObject({ description: 'new', labels: { b: 'c' }, revision: 1, generation: 2n });
    const { rows } = await database.pool.query(
      `select count(*)::int as spans from schedule_spans where schedule = (select id from schedules where schedule_id = 'described')`,
    );
    expect(rows[0].spans).toBe(1);
  });

  it('by a mask needs no more than what the mask names', async () => {
    const name = await created('masked');
    const { schedule } = await service.jsonClient.updateSchedule({
      schedule: { name, spec: { pattern: { case: 'cron', value: { timeZone: 'Europe/Berlin' } } } },
      updateMask: { paths: ['spec.cron.time_zone'] },
    });
    expect(schedule!.spec!.pattern.value).toMatchObject({
      expression: '0 * * * *',
      timeZone: 'Europe/Berlin',
    });
    expect(schedule!.spec!.run!.task).toBe('reports.hourly');
    // And what it makes of the schedule is held against all rules.
    const error = await refusal(
      service.client.updateSchedule({ schedule: { name }, updateMask: { paths: ['spec.run', 'spec.cron'] } }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    const fields = error.findDetails(BadRequestSchema)[0]!.fieldViolations.map(({ field }) => field);
    expect(fields).toEqual(['schedule.spec.run', 'schedule.spec.pattern']);
  });

  it('of an inactive schedule activates nothing', async () => {
    const name = await created('dormant', true);
    const { schedule } = await service.client.updateSchedule({ schedule: { name, spec: daily } });
    expect(schedule).toMatchObject({
      revision: 2,
      activeRevision: 0,
      state: ScheduleState.INACTIVE,
      spec: daily,
    });
    const activated = await service.client.activateSchedule({ name, revision: 1 });
    expect(activated.schedule).toMatchObject({ activeRevision: 1, revision: 2, spec: specOf() });
    const back = await service.client.activateSchedule({ name });
    expect(back.schedule).toMatchObject({ activeRevision: 2, spec: daily });
    expect((await refusal(service.client.activateSchedule({ name, revision: 3 }))).code).toBe(Code.NotFound);
  });

  it('of a paused schedule leaves it paused, by whom and since when it was', async () => {
    const name = await created('paused');
    const paused = await service.client.pauseSchedule({ name, reason: 'audit' });
    const updated = await service.client.updateSchedule({ schedule: { name, spec: daily } });
    expect(updated.schedule).toMatchObject({ state: ScheduleState.PAUSED, activeRevision: 2 });
    expect(updated.schedule!.pause).toEqual(paused.schedule!.pause);
    const activated = await service.client.activateSchedule({ name, revision: 1 });
    expect(activated.schedule).toMatchObject({ state: ScheduleState.PAUSED, activeRevision: 1 });
    expect(activated.schedule!.pause).toEqual(paused.schedule!.pause);
    await service.client.unpauseSchedule({ name });
    const again = await service.client.pauseSchedule({ name, reason: 'second' });
    expect(again.schedule!.pause).toMatchObject({ reason: 'second' });
  });

  it('creates what is missing, if it is allowed to', async () => {
    const schedule = { name: `${PARENT}/schedules/missing`, spec: specOf() };
    expect((await refusal(service.client.updateSchedule({ schedule }))).code).toBe(Code.NotFound);
    const stale = { schedule: { ...schedule, etag: '1' }, allowMissing: true };
    expect((await refusal(service.client.updateSchedule(stale))).code).toBe(Code.Aborted);
    const invalid = { schedule: { ...schedule, spec: {} }, allowMissing: true };
    expect((await refusal(service.client.updateSchedule(invalid))).code).toBe(Code.InvalidArgument);
    const { change } = await service.client.updateSchedule({ schedule, allowMissing: true });
    expect(change).toBe(ScheduleChange.CREATED);
    expect((await service.client.updateSchedule({ schedule, allowMissing: true })).change).toBe(
      ScheduleChange.UNCHANGED,
    );
  });

  it('that is only to be checked writes nothing', async () => {
    const name = await created('tried');
    const before = await fingerprint(database.pool);
    const { schedule, change } = await service.client.updateSchedule({
      schedule: { name, spec: daily },
      validateOnly: true,
    });
    expect(change).toBe(ScheduleChange.UPDATED);
    expect(schedule).toMatchObject({ revision: 2, activeRevision: 2, spec: daily });
    expect(await fingerprint(database.pool)).toBe(before);
  });

  it('keeps the anchor of a rate, whatever else is edited', async () => {
    const rate = specOf({
      pattern: {
        case: 'rate',
        value: {
          $typeName: 'carillon.schedule.v1.Rate',
          interval: { $typeName: 'google.protobuf.Duration', seconds: 7200n, nanos: 0 },
        },
      },
    });
    const { schedule } = await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'rated',
      schedule: { spec: rate },
    });
    const { name } = schedule!;
    const first = schedule!.status!.nextSlotTimes;
    await service.client.deactivateSchedule({ name });
    const edited = await service.client.updateSchedule({
      schedule: { name, spec: { ...rate, run: { ...rate.run!, task: 'other' } } },
    });
    expect(edited.schedule!.revision).toBe(2);
    const again = await service.client.activateSchedule({ name });
    expect(again.schedule!.status!.nextSlotTimes).toEqual(first);
    const { rows } = await database.pool.query(
      `select extract(epoch from anchor_time)::float8 as anchor from schedules where schedule_id = 'rated'`,
    );
    expect((Number(first[0]!.seconds) - rows[0].anchor) / 7200).toBe(1);
  });
});
