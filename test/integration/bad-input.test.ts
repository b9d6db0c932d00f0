import { useDatabase } from '@carillon/db/test/database.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import {
  fingerprint,
  PARENT,
  type ServiceUnderTest,
  specOf,
  startSchedules,
} from '@carillon/schedules/service-under-test.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BadRequest, bodiesOf, send } from './bad-request.ts';
import { badScheduleCalls, SEEDS } from './bad-schedule-calls.ts';
import { badScheduleCreations } from './bad-schedule-creations.ts';

const badSchedules = [...badScheduleCreations, ...badScheduleCalls];

const database = useDatabase();
let schedules: ServiceUnderTest;
let before: string;

beforeAll(async () => {
  schedules = await startSchedules(database);
  for (const scheduleId of SEEDS) {
    await schedules.client.createSchedule({
      parent: PARENT,
      scheduleId,
      schedule: { spec: specOf() },
      inactive: scheduleId === 'idle',
    });
  }
  before = await fingerprint(database.pool);
});
afterAll(async () => schedules[Symbol.asyncDispose]());

async function check(
  url: string,
  type: string,
  body: string | Uint8Array,
  expected: BadRequest,
): Promise<void> {
  const refusal = await send(url, type, body);
  expect(refusal, 'it was accepted').toBeDefined();
  const { code, message, reason, violations } = refusal!;
  expect({ code, message }).toMatchObject({ code: expected.code });
  const violation = violations.find(({ field }) => field === expected.field);
  if (expected.field !== undefined) expect(violations.map(({ field }) => field)).toContain(expected.field);
  if (expected.reason !== undefined) expect(reason).toBe(expected.reason);
  if (expected.says !== undefined) expect(violation?.description ?? message).toContain(expected.says);
  // Nothing of ours shows: no SQL, no stack, no path.
  expect(JSON.stringify(refusal)).not.toMatch(/select |insert |node_modules|\.ts:/);
}

describe('the schedules service refuses', () => {
  it('at least 40 kinds of requests', () => {
    expect(badSchedules.length).toBeGreaterThanOrEqual(40);
  });

  it.each(badSchedules.map((request) => [`${request.method}: ${request.bad}`, request] as const))(
    '%s',
    async (_, request) => {
      const method = ScheduleService.methods.find(({ name }) => name === request.method)!;
      const url = `${schedules.url}/${ScheduleService.typeName}/${method.name}`;
      for (const [type, body] of bodiesOf(request, method.input)) await check(url, type, body, request);
      expect(await fingerprint(database.pool)).toBe(before);
    },
  );
});
