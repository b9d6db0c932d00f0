import { create } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { CronSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { DstEffect } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
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

const cron = (expression: string, timeZone = '') =>
  specOf({ pattern: { case: 'cron', value: create(CronSchema, { expression, timeZone }) } });
const at = (text: string) => ({ seconds: BigInt(Date.parse(text) / 1000) });

describe('a preview', () => {
  it('shows slots in UTC and local time, with what changes of the clock did to them', async () => {
    const spring = await service.client.previewSchedule({
      source: { case: 'spec', value: cron('30 2 * * *', 'Europe/Berlin') },
      fromTime: at('2026-03-27T12:00:00Z'),
      count: 3,
    });
    expect(spring).toMatchObject({ recurrence: 'every day at 02:30 in Europe/Berlin', truncated: true });
    expect(spring.timeZoneDatabaseVersion).toMatch(/^20\d\d[a-z]$/);
    expect(spring.slots.map((slot) => [slot.localTime, slot.dstEffect])).toEqual([
      ['2026-03-28T02:30:00+01:00', DstEffect.UNSPECIFIED],
      ['2026-03-29T03:00:00+02:00', DstEffect.MOVED],
      ['2026-03-30T02:30:00+02:00', DstEffect.UNSPECIFIED],
    ]);
    const autumn = await service.client.previewSchedule({
      source: { case: 'spec', value: cron('*/30 2 * * *', 'Europe/Berlin') },
      fromTime: at('2026-10-24T23:59:59Z'),
      toTime: at('2026-10-25T01:30:00Z'),
    });
    expect(autumn.truncated).toBe(false);
    expect(autumn.slots.map((slot) => [slot.localTime, slot.dstEffect])).toEqual([
      ['2026-10-25T02:00:00+02:00', DstEffect.FIRST_OF_TWO],
      ['2026-10-25T02:30:00+02:00', DstEffect.FIRST_OF_TWO],
      ['2026-10-25T02:00:00+01:00', DstEffect.SECOND_OF_TWO],
      ['2026-10-25T02:30:00+01:00', DstEffect.SECOND_OF_TWO],
    ]);
  });

  it('begins strictly after from_time, and ends with to_time', async () => {
    const { slots } = await service.client.previewSchedule({
      source: { case: 'spec', value: cron('0 * * * *') },
      fromTime: at('2026-01-01T00:00:00Z'),
      toTime: at('2026-01-01T03:00:00Z'),
    });
    expect(slots.map((slot) => timestampDate(slot.nominalTime!).toISOString())).toEqual([
      '2026-01-01T01:00:00.000Z',
      '2026-01-01T02:00:00.000Z',
      '2026-01-01T03:00:00.000Z',
    ]);
    const backwards = { fromTime: at('2026-01-02T00:00:00Z'), toTime: at('2026-01-01T00:00:00Z') };
    const error = await refusal(
      service.client.previewSchedule({ source: { case: 'spec', value: cron('0 * * * *') }, ...backwards }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
  });

  it('shows when slots fall due', async () => {
    const spec = {
      ...cron('0 * * * *'),
      jitter: { $typeName: 'google.protobuf.Duration', seconds: 600n, nanos: 0 },
    } as const;
    const { schedule } = await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'jittered',
      schedule: { spec },
    });
    const { slots } = await service.client.previewSchedule({
      source: { case: 'name', value: schedule!.name },
      count: 100,
    });
    const delays = slots.map(
      (slot) => timestampDate(slot.dueTime!).getTime() - timestampDate(slot.nominalTime!).getTime(),
    );
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...delays)).toBeLessThan(600_000);
    expect(new Set(delays).size).toBeGreaterThan(90);
  });

  it('of a schedule shows its active revision, else its newest', async () => {
    const name = `${PARENT}/schedules/chosen`;
    const source = { case: 'name', value: name } as const;
    await service.client.createSchedule({
      parent: PARENT,
      scheduleId: 'chosen',
      schedule: { spec: cron('0 1 * * *') },
    });
    await service.client.updateSchedule({ schedule: { name, spec: cron('0 2 * * *') } });
    await service.client.activateSchedule({ name, revision: 1 });
    expect((await service.client.previewSchedule({ source })).recurrence).toBe('every day at 01:00 in UTC');
    await service.client.deactivateSchedule({ name });
    expect((await service.client.previewSchedule({ source })).recurrence).toBe('every day at 02:00 in UTC');
    const missing = { case: 'name', value: `${PARENT}/schedules/none` } as const;
    expect((await refusal(service.client.previewSchedule({ source: missing }))).code).toBe(Code.NotFound);
  });

  it('saves nothing, and ends where nothing is left', async () => {
    const before = await fingerprint(database.pool);
    const spec = specOf({
      endTime: { $typeName: 'google.protobuf.Timestamp', ...at('2026-01-01T05:00:00Z'), nanos: 0 },
    });
    const { slots, truncated } = await service.client.previewSchedule({
      source: { case: 'spec', value: spec },
      fromTime: at('2026-01-01T00:00:00Z'),
      count: 1000,
    });
    expect([slots.length, truncated]).toEqual([5, false]);
    expect(await fingerprint(database.pool)).toBe(before);
  });
});
