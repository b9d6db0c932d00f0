import { useDatabase } from '@carillon/db/test/database.ts';
import { RunPhase } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  adHoc,
  holdName,
  nameOf,
  PARENT,
  reasonOf,
  refusal,
  type ServiceUnderTest,
  slot,
  someoneWaits,
  startRuns,
  stored,
  wholeSecond,
} from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;

beforeAll(async () => {
  service = await startRuns(database);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

test('reads runs with and without their day, in the order asked, those that do not exist included', async () => {
  const old = slot({ nominalTime: wholeSecond(2) });
  const named = adHoc();
  await service.runs.batchCreateRuns({ requests: [old, named] });
  const { results } = await service.runs.batchGetRuns({
    requests: [
      { name: nameOf(named) },
      { name: `${PARENT}/runs/none` },
      { name: nameOf(old), nominalTime: old.nominalTime! },
      { name: nameOf(old), nominalTime: wholeSecond() },
      { name: nameOf(old) },
    ],
  });
  expect(results.map(({ run }) => run?.name)).toEqual([
    nameOf(named),
    undefined,
    nameOf(old),
    undefined,
    nameOf(old),
  ]);
  expect(results.map(({ name }) => name)[1]).toBe(`${PARENT}/runs/none`);
});

test('a probe leaves nothing behind, and finds what exists', async () => {
  const [there, absent] = [slot(), slot()];
  await service.runs.createRun(there);
  const requests = [absent, there, absent].map((request) => ({
    name: nameOf(request),
    nominalTime: request.nominalTime!,
  }));
  const { results } = await service.runs.batchGetRuns({ requests, probe: true });
  expect(results.map(({ run }) => run?.phase)).toEqual([undefined, RunPhase.QUEUED, undefined]);
  expect(await stored(database.pool, nameOf(absent))).toBeUndefined();
  await service.runs.createRun(absent);
});

test.each([
  ['commit', true],
  ['rollback', false],
] as const)('a probe waits for who is creating the run: after a %s it exists: %s', async (how, exists) => {
  const request = slot();
  const writer = await holdName(database.pool, request);
  const wanted = { name: nameOf(request), nominalTime: request.nominalTime! };
  const glance = await service.runs.batchGetRuns({ requests: [wanted] });
  expect(glance.results[0]?.run).toBeUndefined();
  let answered = false;
  const probe = service.runs.batchGetRuns({ requests: [wanted], probe: true }).finally(() => {
    answered = true;
  });
  await someoneWaits(database.pool);
  expect(answered).toBe(false);
  await writer.end(how);
  const { results } = await probe;
  expect(results[0]?.run !== undefined).toBe(exists);
});

test('a probe that waits too long says so, and never "not found"', async () => {
  const request = slot();
  const writer = await holdName(database.pool, request);
  try {
    const wanted = { name: nameOf(request), nominalTime: request.nominalTime! };
    const error = await refusal(service.runs.batchGetRuns({ requests: [wanted], probe: true }));
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, 'PROBE_BLOCKED']);
  } finally {
    await writer.end('rollback');
  }
});

test('a probe tells of each run that cannot be told, and of the others as ever', async () => {
  const [there, absent, dropped] = [slot(), slot(), slot({ nominalTime: wholeSecond(200) })];
  await service.runs.createRun(there);
  const requests = [dropped, there, absent].map((request) => ({
    name: nameOf(request),
    nominalTime: request.nominalTime!,
  }));
  const { results } = await service.runs.batchGetRuns({ requests, probe: true });
  expect(results.map(({ run, beyondRetention }) => run?.phase ?? beyondRetention)).toEqual([
    true,
    RunPhase.QUEUED,
    false,
  ]);
  const glance = await service.runs.batchGetRuns({ requests });
  expect(glance.results.map(({ beyondRetention }) => beyondRetention)).toEqual([false, false, false]);
  expect(reasonOf(await refusal(service.runs.createRun(dropped)))).toBe('BEYOND_RETENTION');
});

test('a probe waits for who is creating a run, beyond the retention too', async () => {
  const request = slot({ nominalTime: wholeSecond(200) });
  const writer = await holdName(database.pool, request);
  const wanted = { name: nameOf(request), nominalTime: request.nominalTime! };
  const probe = service.runs.batchGetRuns({ requests: [wanted], probe: true });
  await someoneWaits(database.pool);
  await writer.end('commit');
  const { results } = await probe;
  expect(results[0]).toMatchObject({ run: {}, beyondRetention: false });
});

test('a probe needs every nominal time, and one that runs have', async () => {
  const request = slot();
  const without = await refusal(
    service.runs.batchGetRuns({ requests: [{ name: nameOf(request) }], probe: true }),
  );
  expect(without.code).toBe(Code.InvalidArgument);
  const absurd = await refusal(
    service.runs.getRun({ name: nameOf(request), nominalTime: { seconds: 253_402_300_799n, nanos: 0 } }),
  );
  expect(absurd.code).toBe(Code.InvalidArgument);
});

test('GetRun of a name that does not exist is NOT_FOUND', async () => {
  expect((await refusal(service.runs.getRun({ name: `${PARENT}/runs/none` }))).code).toBe(Code.NotFound);
});
