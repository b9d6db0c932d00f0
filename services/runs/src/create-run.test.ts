import { create } from '@bufbuild/protobuf';
import { anyUnpack, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { createDatabase } from '@carillon/db';
import type { RunTables } from '@carillon/db/tables/runs.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { OverlapPolicy, RunOutcome, RunPhase, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { BatchCreateRunsRequestSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { BadRequestSchema, ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import type { Status } from '@carillon/gen/google/rpc/status_pb.ts';
import { systemClock, systemEntropy } from '@carillon/server';
import { Code, ConnectError } from '@connectrpc/connect';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newRunOf } from './new-run.ts';
import { RunCreator } from './run-creator.ts';
import { RunHints } from './run-hints.ts';
import { RunMetrics } from './run-metrics.ts';
import {
  adHoc,
  brokenInvariants,
  existingOf,
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
afterEach(async () => {
  expect(await brokenInvariants(database.pool)).toEqual([]);
});

const soon = () => timestampFromMs(Date.now() + 60_000);
const past = () => timestampFromMs(Date.now() - 60_000);
const otherSpec = create(RunSpecSchema, { task: 'other' });

function reasonOfStatus(status: Status | undefined): string | undefined {
  const details = status?.details.map((any) => anyUnpack(any, ErrorInfoSchema)) ?? [];
  return details.find((detail) => detail !== undefined)?.reason;
}

async function count(): Promise<number> {
  const { rows } = await database.pool.query<{ n: number }>('select count(*)::int as n from runs');
  return rows[0]?.n ?? 0;
}

describe('CreateRun', () => {
  test('creates the run and its place in the queue, and answers with it', async () => {
    const request = slot({ notAfter: soon() });
    const { run, outcome } = await service.runs.createRun(request);
    expect(outcome).toBe(RunOutcome.STARTED);
    expect(run).toMatchObject({ name: nameOf(request), phase: RunPhase.QUEUED, version: 1n, attempt: 0 });
    expect(run?.spec).toMatchObject({ task: 't', queue: 'default' });
    expect(await stored(database.pool, nameOf(request))).toEqual({
      phase: 'QUEUED',
      attempt: 0,
      ready: 1,
      leases: 0,
    });
    const read = await service.runs.getRun({ name: nameOf(request) });
    expect(read.run).toEqual(run);
  });

  test('of one name at once creates it once, whoever comes first', async () => {
    for (const request of [slot(), adHoc()]) {
      const calls = await Promise.allSettled(
        Array.from({ length: 50 }, () => service.runs.createRun(request)),
      );
      expect(calls.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const call of calls) {
        if (call.status === 'fulfilled') continue;
        expect(reasonOf(call.reason)).toBe('RUN_EXISTS');
        expect(existingOf(call.reason)?.name).toBe(nameOf(request));
      }
      expect(await stored(database.pool, nameOf(request))).toMatchObject({ phase: 'QUEUED', ready: 1 });
    }
  });

  test('of many names at once, each by several callers through two replicas, creates each once', async () => {
    await using second = await startRuns(database, { instance: 'test-2' });
    const requests = Array.from({ length: 60 }, () => slot());
    const before = await count();
    const calls = [service, second, service].flatMap((replica, turn) =>
      (turn === 1 ? requests.toReversed() : requests).map((request) => replica.runs.createRun(request)),
    );
    const settled = await Promise.allSettled(calls);
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(requests.length);
    for (const call of settled)
      if (call.status === 'rejected') expect(reasonOf(call.reason)).toBe('RUN_EXISTS');
    expect(await count()).toBe(before + requests.length);
  });

  test('tells what stands under a taken name, and whether it is the same', async () => {
    const request = slot();
    await service.runs.createRun(request);
    const same = await refusal(service.runs.createRun({ ...request, fireTime: soon(), notAfter: soon() }));
    expect([same.code, reasonOf(same)]).toEqual([Code.AlreadyExists, 'RUN_EXISTS']);
    expect(existingOf(same)).toMatchObject({
      name: nameOf(request),
      scheduleUid: request.scheduleUid,
      nominalTime: request.nominalTime,
      fireTime: request.fireTime,
      outcome: RunOutcome.STARTED,
      phase: RunPhase.QUEUED,
      sameSpec: true,
    });
    const other = await refusal(service.runs.createRun({ ...request, spec: otherSpec }));
    expect([other.code, reasonOf(other)]).toEqual([Code.AlreadyExists, 'SPEC_CONFLICT']);
    expect(existingOf(other)?.sameSpec).toBe(false);
    expect(await stored(database.pool, nameOf(request))).toMatchObject({ ready: 1 });
  });

  test('does not enqueue a run again that has left the queue', async () => {
    const request = slot();
    await service.runs.createRun(request);
    await service.runs.abortRun({ name: nameOf(request) });
    const again = await refusal(service.runs.createRun(request));
    expect(existingOf(again)?.phase).toBe(RunPhase.ABORTED);
    expect(await stored(database.pool, nameOf(request))).toMatchObject({ phase: 'ABORTED', ready: 0 });
  });

  test('knows the name of an ad-hoc run on whatever day', async () => {
    const request = adHoc({ nominalTime: wholeSecond(3) });
    await service.runs.createRun(request);
    const again = await refusal(service.runs.createRun({ ...request, nominalTime: wholeSecond() }));
    expect(reasonOf(again)).toBe('RUN_EXISTS');
    expect(existingOf(again)?.nominalTime).toEqual(request.nominalTime);
    expect((await service.runs.getRun({ name: nameOf(request) })).run?.nominalTime).toEqual(
      request.nominalTime,
    );
  });

  test('does not create a run after its not_after, and does tell of one that exists', async () => {
    const request = slot();
    const expired = await refusal(service.runs.createRun({ ...request, notAfter: past() }));
    expect([expired.code, reasonOf(expired)]).toEqual([Code.FailedPrecondition, 'EXPIRED']);
    expect(await stored(database.pool, nameOf(request))).toBeUndefined();
    await service.runs.createRun(request);
    expect(reasonOf(await refusal(service.runs.createRun({ ...request, notAfter: past() })))).toBe(
      'RUN_EXISTS',
    );
  });

  test('looks at not_after when the row is written, not when the call came', async () => {
    const request = slot({ notAfter: timestampFromMs(Date.now() + 400) });
    const other = slot();
    const holder = await holdName(database.pool, request);
    try {
      const batch = service.runs.batchCreateRuns({ requests: [request, other] });
      await someoneWaits(database.pool);
      // Longer than not_after: what waits now is late when it gets its turn.
      await database.pool.query('select pg_sleep(0.6)');
      await holder.end('rollback');
      const { results } = await batch;
      expect(reasonOfStatus(results[0]?.error)).toBe('EXPIRED');
      expect(results[1]).toMatchObject({ outcome: RunOutcome.STARTED });
    } finally {
      await holder.end('rollback');
    }
    expect(await stored(database.pool, nameOf(request))).toBeUndefined();
    expect(await stored(database.pool, nameOf(other))).toMatchObject({ phase: 'QUEUED', ready: 1 });
  });

  test('refuses a nominal time whose runs may have been deleted, to the day', async () => {
    await using keeper = await startRuns(database, { retentionDays: 8 });
    const old = await refusal(keeper.runs.createRun(slot({ nominalTime: wholeSecond(9) })));
    expect([old.code, reasonOf(old)]).toEqual([Code.FailedPrecondition, 'BEYOND_RETENTION']);
    await keeper.runs.createRun(slot({ nominalTime: wholeSecond(8) }));
  });

  test('only checks when asked to', async () => {
    const request = slot({ validateOnly: true });
    const { run } = await service.runs.createRun(request);
    expect(run).toMatchObject({ name: nameOf(request), phase: RunPhase.QUEUED });
    expect(await stored(database.pool, nameOf(request))).toBeUndefined();
    expect(reasonOf(await refusal(service.runs.createRun({ ...request, notAfter: past() })))).toBe('EXPIRED');
    await service.runs.createRun({ ...request, validateOnly: false });
    expect(reasonOf(await refusal(service.runs.createRun(request)))).toBe('RUN_EXISTS');
  });

  test('keeps inputs and labels to the byte, whatever their names', async () => {
    const spec = create(RunSpecSchema, {
      task: 't',
      labels: { 'team.x/y': 'ü "quoted" \\ {}', constructor: '1' },
      inputs: {
        content: {
          case: 'values',
          value: JSON.parse('{"__proto__": {"a": 1}, "b": [null, 1.5, "\\u0000"]}'),
        },
      },
    });
    const request = adHoc({ spec });
    await service.runs.createRun(request);
    const { run } = await service.runs.getRun({ name: nameOf(request) });
    expect(run?.spec?.labels).toEqual(spec.labels);
    expect(run?.spec?.inputs).toEqual(spec.inputs);
    const bytes = Uint8Array.from({ length: 1_048_576 }, (_, index) => index % 251);
    const large = adHoc({
      spec: create(RunSpecSchema, { task: 't', inputs: { content: { case: 'data', value: bytes } } }),
    });
    await service.runs.createRun(large);
    const read = await service.runs.getRun({ name: nameOf(large) });
    expect(read.run?.spec?.inputs?.contentType).toBe('application/octet-stream');
    expect(Buffer.compare(read.run?.spec?.inputs?.content.value as Uint8Array, bytes)).toBe(0);
  });
});

describe('BatchCreateRuns', () => {
  test('answers each item alone, in the order of the requests', async () => {
    const existing = slot();
    await service.runs.createRun(existing);
    const fresh = slot();
    const requests = [
      fresh,
      existing,
      { ...existing, spec: otherSpec },
      slot({ notAfter: past() }),
      slot({ nominalTime: wholeSecond(400) }),
      slot({ parent: 'projects/P/domains/d' }),
      slot({ scheduleUid: '' }),
      adHoc({ runId: '' }),
      slot({ concurrency: { key: 'k', policy: OverlapPolicy.SKIP }, nominalTime: wholeSecond(1) }),
      slot({ concurrency: { key: 'k', policy: OverlapPolicy.SKIP } }),
      { ...slot(), validateOnly: true },
      fresh,
      adHoc(),
    ];
    const { results } = await service.runs.batchCreateRuns({ requests });
    expect(results.map(({ error, outcome }) => reasonOfStatus(error) ?? outcome)).toEqual([
      RunOutcome.STARTED,
      'RUN_EXISTS',
      'SPEC_CONFLICT',
      'EXPIRED',
      'BEYOND_RETENTION',
      'INVALID_ARGUMENT',
      'INVALID_ARGUMENT',
      RunOutcome.STARTED,
      RunOutcome.STARTED,
      RunOutcome.SKIPPED,
      'INVALID_ARGUMENT',
      'RUN_EXISTS',
      RunOutcome.STARTED,
    ]);
    expect(results[0]?.name).toBe(nameOf(fresh));
    const invalid = results[6]?.error?.details.map((any) => anyUnpack(any, BadRequestSchema));
    expect(invalid?.find((detail) => detail !== undefined)?.fieldViolations[0]?.field).toBe('schedule_uid');
  });

  test('of 500 runs by several at once, in different orders, creates each once', async () => {
    const requests = Array.from({ length: 500 }, () => slot());
    const shuffled = (turn: number) =>
      requests.map((_, index) => requests[(index * 7 + turn * 131) % 500] ?? slot());
    const batches = await Promise.all(
      Array.from({ length: 4 }, (_, turn) =>
        service.runs.batchCreateRuns(create(BatchCreateRunsRequestSchema, { requests: shuffled(turn) })),
      ),
    );
    const outcomes = batches.flatMap(({ results }) =>
      results.map(({ error }) => reasonOfStatus(error) ?? 'CREATED'),
    );
    expect(outcomes.filter((outcome) => outcome === 'CREATED')).toHaveLength(500);
    expect(outcomes.filter((outcome) => outcome === 'RUN_EXISTS')).toHaveLength(1_500);
  });

  test.each([0, 501])('refuses %i items as a whole', async (items) => {
    const requests = Array.from({ length: items }, () => slot());
    const error = await refusal(service.runs.batchCreateRuns({ requests }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe('requests');
  });

  test('isolates an item that the database refuses', async () => {
    // No request is known that gets this far; the constraint stands for one.
    await database.pool.query(`alter table runs add constraint poison check (task <> 'poison') not valid`);
    try {
      const good = Array.from({ length: 9 }, () => slot());
      const poison = slot({ spec: create(RunSpecSchema, { task: 'poison' }) });
      const creator = new RunCreator({
        db: createDatabase<RunTables>(database.pool),
        clock: systemClock,
        hints: new RunHints({ notify: () => undefined }),
        metrics: new RunMetrics(new Registry()),
        retentionDays: 90,
      });
      const runs = [...good.slice(0, 4), poison, ...good.slice(4)].map((request) =>
        newRunOf(request, { nowMicros: Date.now() * 1000, entropy: systemEntropy }),
      );
      const creations = await creator.createAll(runs);
      expect(creations.map(({ error }) => error === undefined)).toEqual(
        runs.map(({ task }) => task !== 'poison'),
      );
    } finally {
      await database.pool.query('alter table runs drop constraint poison');
    }
  });
});

describe('the server', () => {
  test('tells of an outage as UNAVAILABLE, and creates nothing twice after it', async () => {
    const request = slot();
    const { rows } = await database.pool.query<{ pid: number }>(
      `select pg_terminate_backend(pid) as done, pid from pg_stat_activity
       where application_name like 'carillon-runs%' and datname = current_database()`,
    );
    expect(rows.length).toBeGreaterThan(0);
    const calls = await Promise.allSettled(Array.from({ length: 5 }, () => service.runs.createRun(request)));
    for (const call of calls) {
      if (call.status === 'rejected')
        expect([Code.Unavailable, Code.AlreadyExists]).toContain(call.reason.code);
    }
    // One of the pool's connections after another turns out to be gone.
    const again = () => service.runs.createRun(request).catch((error: unknown) => error);
    let last = await again();
    while (last instanceof ConnectError && last.code === Code.Unavailable) last = await again();
    if (last instanceof Error) expect(reasonOf(await refusal(Promise.reject(last)))).toBe('RUN_EXISTS');
    expect(await stored(database.pool, nameOf(request))).toMatchObject({ phase: 'QUEUED', ready: 1 });
  });

  test('counts what it created and what it refused', async () => {
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    expect(metrics).toMatch(/carillon_runs_created_total\{outcome="STARTED"\} \d+/);
    expect(metrics).toMatch(/carillon_runs_existing_total\{reason="SPEC_CONFLICT"\} \d+/);
    expect(metrics).toMatch(/carillon_runs_refused_total\{reason="EXPIRED"\} \d+/);
  });

  test('takes JSON, and refuses fields it does not know', async () => {
    const call = (body: unknown) =>
      fetch(`${service.url}/carillon.run.v1.RunService/CreateRun`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await call({ parent: PARENT, spec: { task: 't' } })).status).toBe(200);
    expect((await call({ parent: PARENT, spec: { task: 't', shell: 'rm' } })).status).toBe(400);
    expect((await call({ parent: PARENT, spec: { task: 't', labels: { ['__proto__']: 'x' } } })).status).toBe(
      400,
    );
  });
});
