import { create } from '@bufbuild/protobuf';
import { useDatabase } from '@carillon/db/test/database.ts';
import { CatchUpSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  PARENT,
  RUN_RETENTION_DAYS,
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

const LONGEST_SEC = BigInt((RUN_RETENTION_DAYS - 1) * 86_400);

function windowOf(seconds: bigint, jitterSeconds = 0n) {
  return specOf({
    catchUp: create(CatchUpSchema, { window: { seconds } }),
    jitter: { seconds: jitterSeconds },
  });
}

it('a catch-up window is a day shorter than runs are kept, with the jitter', async () => {
  const scheduleId = 'longest';
  const name = `${PARENT}/schedules/${scheduleId}`;
  for (const spec of [windowOf(LONGEST_SEC + 1n), windowOf(LONGEST_SEC, 1n)]) {
    const refused = await refusal(
      service.client.createSchedule({ parent: PARENT, scheduleId, schedule: { spec } }),
    );
    expect(refused.code).toBe(Code.InvalidArgument);
    expect(refused.rawMessage).toContain('schedule.spec.catch_up.window');
  }
  await service.client.createSchedule({
    parent: PARENT,
    scheduleId,
    schedule: { spec: windowOf(LONGEST_SEC) },
  });
  const longer = service.client.updateSchedule({ schedule: { name, spec: windowOf(LONGEST_SEC + 1n) } });
  expect((await refusal(longer)).code).toBe(Code.InvalidArgument);
  await service.client.updateSchedule({ schedule: { name, spec: windowOf(LONGEST_SEC - 1n, 1n) } });
});
