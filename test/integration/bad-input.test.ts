import type { DescService } from '@bufbuild/protobuf';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createApp as createRuns, readRunsConfig } from '@carillon/runs';
import {
  fingerprint,
  PARENT,
  type ServiceUnderTest,
  specOf,
  startSchedules,
} from '@carillon/schedules/service-under-test.ts';
import { createLogger } from '@carillon/server';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BadRequest, bodiesOf, send } from './bad-request.ts';
import { badRuns, badWorkerCalls, SEED_RUN } from './bad-runs.ts';
import { badScheduleCalls, SEEDS } from './bad-schedule-calls.ts';
import { badScheduleCreations } from './bad-schedule-creations.ts';

const database = useDatabase();
let schedules: ServiceUnderTest;
let runs: Awaited<ReturnType<typeof createRuns>>;
let before: string;

beforeAll(async () => {
  schedules = await startSchedules(database);
  for (const scheduleId of SEEDS) {
    const schedule = { spec: specOf() };
    await schedules.client.createSchedule({
      parent: PARENT,
      scheduleId,
      schedule,
      inactive: scheduleId === 'idle',
    });
  }
  runs = await createRuns(
    readRunsConfig({ DATABASE_URL: database.url, CARILLON_PORT: '0' }, 'runs-under-test'),
    {
      logger: createLogger({ service: 'runs', instance: 'test-1', level: 'error' }),
    },
  );
  await runs.ready;
  const client = createClient(RunService, createConnectTransport({ baseUrl: runs.url, httpVersion: '1.1' }));
  await client.createRun({ parent: PARENT, runId: SEED_RUN, spec: { task: 't' } });
  before = await fingerprint(database.pool);
});
afterAll(async () => {
  await schedules[Symbol.asyncDispose]();
  await runs.close(AbortSignal.abort());
});

/** Sends it in JSON and in binary, and looks at the answer and at every table. */
async function check(service: DescService, baseUrl: string, request: BadRequest): Promise<void> {
  const method = service.methods.find(({ name }) => name === request.method)!;
  for (const [type, body] of bodiesOf(request, method.input)) {
    const refusal = await send(`${baseUrl}/${service.typeName}/${method.name}`, type, body);
    expect(refusal, 'it was accepted').toBeDefined();
    const { code, message, reason, violations } = refusal!;
    expect({ type, code, message }).toMatchObject({ type, code: request.code });
    if (request.field !== undefined) expect(violations.map(({ field }) => field)).toContain(request.field);
    if (request.reason !== undefined) expect(reason).toBe(request.reason);
    const violation = violations.find(({ field }) => field === request.field);
    if (request.says !== undefined) expect(violation?.description ?? message).toContain(request.says);
    // Nothing of ours shows: no SQL, no stack, no path.
    expect(JSON.stringify(refusal)).not.toMatch(/select |insert |node_modules|\.ts:/);
  }
  expect(await fingerprint(database.pool)).toBe(before);
}

function titled(requests: readonly BadRequest[]): (readonly [string, BadRequest])[] {
  return requests.map((request) => [`${request.method}: ${request.bad}`, request]);
}

describe('ScheduleService refuses', () => {
  it.each(titled([...badScheduleCreations, ...badScheduleCalls]))('%s', async (_, request) => {
    await check(ScheduleService, schedules.url, request);
  });
});

describe('RunService refuses', () => {
  it.each(titled(badRuns))('%s', async (_, request) => {
    await check(RunService, runs.url, request);
  });
});

describe('WorkerService refuses', () => {
  it.each(titled(badWorkerCalls))('%s', async (_, request) => {
    await check(WorkerService, runs.url, request);
  });
});
