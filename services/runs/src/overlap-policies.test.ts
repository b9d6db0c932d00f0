import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { createDatabase, transaction } from '@carillon/db';
import { forgetStrayRuns, selectStrayRuns } from '@carillon/db/tables/keyed-runs.ts';
import type { RunTables } from '@carillon/db/tables/runs.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import {
  ConcurrencySchema,
  OverlapPolicy,
  RunOutcome,
  RunPhase,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { Lease } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { mendKeys } from './duties.ts';
import {
  lapse,
  outcomeName,
  phasesOf as phasesIn,
  reap,
  sharedKey,
  times,
  unheard,
} from './overlap-under-test.ts';
import {
  adHoc,
  brokenInvariants,
  existingOf,
  nameOf,
  PARENT,
  reasonOf,
  refOf,
  refusal,
  type ServiceUnderTest,
  startRuns,
} from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;
let second: ServiceUnderTest;

beforeAll(async () => {
  // Their own reapers take nothing back that ran out: the tests' one does.
  service = await startRuns(database, { leaseTtlMs: 600_000 });
  second = await startRuns(database, { leaseTtlMs: 600_000, instance: 'test-2' });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
});
afterEach(async () => {
  expect(await brokenInvariants(database.pool)).toEqual([]);
});

const phasesOf = (requests: readonly CreateRunRequest[]) => phasesIn(database.pool, requests);

async function createRun(request: CreateRunRequest): Promise<string | undefined> {
  const { outcome, run } = await service.runs.createRun(request);
  expect(run?.outcome).toBe(outcome);
  return outcomeName(outcome);
}

async function createAll(requests: readonly CreateRunRequest[]): Promise<(string | undefined)[]> {
  const outcomes = [];
  for (const request of requests) outcomes.push(await createRun(request));
  return outcomes;
}

async function lease(queue: string, maxRuns = 1): Promise<Lease[]> {
  const { leases } = await service.workers.leaseRuns({
    worker: 'w',
    queues: [queue],
    maxRuns,
    wait: durationFromMs(5_000),
  });
  return leases;
}

async function leaseOne(queue: string) {
  const [leased] = await lease(queue);
  return refOf(leased);
}

async function noneReady(queue: string): Promise<boolean> {
  return (await service.workers.leaseRuns({ worker: 'w', queues: [queue] })).leases.length === 0;
}

const phaseOf = async (request: CreateRunRequest) => (await phasesOf([request]))[0];

const complete = (ref: { run: string; leaseToken: string }) => service.workers.completeRun({ lease: ref });

describe('ALLOW', () => {
  test('without a limit runs everything', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.ALLOW);
    expect(new Set(await createAll(times(5, () => next())))).toEqual(new Set(['STARTED']));
    for (const leased of await lease(queue, 5)) await complete(refOf(leased));
  });

  test('skips what is above its limit, and starts again below it', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.ALLOW, 2);
    const requests = times(3, () => next());
    expect(await createAll(requests)).toEqual(['STARTED', 'STARTED', 'SKIPPED']);
    await complete(await leaseOne(queue));
    expect(await createRun(next())).toBe('STARTED');
  });
});

describe('SKIP', () => {
  test('of 50 at once through two replicas starts exactly one', async () => {
    const { next } = sharedKey(OverlapPolicy.SKIP);
    const requests = times(50, () => next());
    const answers = await Promise.all(
      requests.map((request, index) => (index % 2 === 0 ? service : second).runs.createRun(request)),
    );
    const outcomes = answers.map(({ outcome }) => outcomeName(outcome));
    expect(outcomes.filter((outcome) => outcome === 'STARTED')).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'SKIPPED')).toHaveLength(49);
  });

  test('of 50 in batches that cross one another starts exactly one of each key', async () => {
    const sharers = times(20, () => sharedKey(OverlapPolicy.SKIP));
    const batches = times(4, (turn) => {
      const requests = sharers.map(({ next }) => next());
      return turn % 2 === 0 ? requests : requests.toReversed();
    });
    const answers = await Promise.all(
      batches.map((requests, turn) => (turn < 2 ? service : second).runs.batchCreateRuns({ requests })),
    );
    const results = answers.flatMap((answer) => answer.results);
    expect(results.filter(({ outcome }) => outcome === RunOutcome.STARTED)).toHaveLength(20);
    expect(results.filter(({ outcome }) => outcome === RunOutcome.SKIPPED)).toHaveLength(60);
  });

  test('keeps a skipped run as a terminal row that says why, and tells it again', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.SKIP);
    const requests = [next(), next()] as const;
    await service.runs.createRun(requests[0]);
    const { run } = await service.runs.createRun(requests[1]);
    expect(run).toMatchObject({
      phase: RunPhase.SKIPPED,
      outcome: RunOutcome.SKIPPED,
      error: { code: 'OVERLAP', message: 'its concurrency key has 1 run going' },
      endTime: run?.createTime,
      version: 1n,
    });
    expect((await service.runs.getRun({ name: nameOf(requests[1]) })).run).toEqual(run);
    await complete(await leaseOne(queue));
    for (const [index, outcome] of [RunOutcome.STARTED, RunOutcome.SKIPPED].entries()) {
      const error = await refusal(service.runs.createRun(requests[index] ?? requests[0]));
      expect([error.code, reasonOf(error)]).toEqual([Code.AlreadyExists, 'RUN_EXISTS']);
      expect(existingOf(error)).toMatchObject({ outcome });
    }
    // Aborting what never ran changes nothing.
    const aborted = await service.runs.abortRun({ name: nameOf(requests[1]) });
    expect(aborted.run?.phase).toBe(RunPhase.SKIPPED);
  });

  test('counts a run between two attempts as going', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.SKIP);
    const retried = next({}, 2);
    await createRun(retried);
    await service.workers.failRun({ lease: await leaseOne(queue), error: { code: 'BROKEN' } });
    expect(await phaseOf(retried)).toBe('QUEUED');
    expect(await createRun(next())).toBe('SKIPPED');
    await service.workers.failRun({ lease: await leaseOne(queue), error: { code: 'BROKEN' } });
    expect(await phaseOf(retried)).toBe('FAILED');
    expect(await createRun(next())).toBe('STARTED');
  });

  test('counts only runs of its own key, project and domain', async () => {
    const { next } = sharedKey(OverlapPolicy.SKIP);
    expect(await createRun(next())).toBe('STARTED');
    expect(await createRun(sharedKey(OverlapPolicy.SKIP).next())).toBe('STARTED');
    expect(await createRun(next({ parent: `${PARENT.replace('projects/p', 'projects/p2')}` }))).toBe(
      'STARTED',
    );
    expect(await createRun(next({ parent: `${PARENT}2` }))).toBe('STARTED');
    expect(await createRun(next())).toBe('SKIPPED');
  });

  test('is only rehearsed when the request is only to be checked', async () => {
    const { next } = sharedKey(OverlapPolicy.SKIP);
    const rehearsed = { ...next(), validateOnly: true };
    expect(await createRun(rehearsed)).toBe('STARTED');
    expect(await phaseOf(rehearsed)).toBeUndefined();
    expect(await createRun(next())).toBe('STARTED');
    expect(await createRun(rehearsed)).toBe('SKIPPED');
  });
});

describe('BUFFER_ONE', () => {
  test('buffers one run, skips the others, and starts the buffered one when the running one ends', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.BUFFER_ONE);
    const requests = [next(), next(), next(), next()] as const;
    expect(await createAll(requests)).toEqual(['STARTED', 'BUFFERED', 'SKIPPED', 'SKIPPED']);
    const first = await leaseOne(queue);
    expect(await noneReady(queue)).toBe(true);
    await complete(first);
    expect(await phasesOf(requests)).toEqual(['SUCCEEDED', 'QUEUED', 'SKIPPED', 'SKIPPED']);
    expect(await createRun(next())).toBe('BUFFERED');
    const run = (await service.runs.getRun({ name: nameOf(requests[1]) })).run;
    expect(run).toMatchObject({ phase: RunPhase.QUEUED, outcome: RunOutcome.BUFFERED });
  });
});

describe('BUFFER_ALL', () => {
  test('starts in the order of nominal times, whatever the order of the calls', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.BUFFER_ALL);
    const first = next();
    const others = times(5, () => next());
    expect(await createAll([first, ...others.toReversed()])).toEqual([
      'STARTED',
      ...times(5, () => 'BUFFERED'),
    ]);
    const order = [];
    while (order.length < 6) {
      const ref = await leaseOne(queue);
      order.push(ref.run);
      expect(await noneReady(queue)).toBe(true);
      await complete(ref);
    }
    expect(order).toEqual([first, ...others].map(nameOf));
  });

  test('in one batch starts the oldest', async () => {
    const { next } = sharedKey(OverlapPolicy.BUFFER_ALL, 2);
    const requests = times(5, () => next());
    const { results } = await service.runs.batchCreateRuns({ requests: requests.toReversed() });
    expect(results.toReversed().map(({ outcome }) => outcomeName(outcome))).toEqual([
      'STARTED',
      'STARTED',
      'BUFFERED',
      'BUFFERED',
      'BUFFERED',
    ]);
  });

  test.each([
    [
      'fails for good',
      (queue: string) =>
        leaseOne(queue).then((ref) => service.workers.failRun({ lease: ref, error: { code: 'BROKEN' } })),
    ],
    [
      'is aborted while it is queued',
      (_: string, name: string) => service.runs.abortRun({ name, reason: 'no more' }),
    ],
    [
      'is aborted, and its worker stops',
      async (queue: string, name: string) => {
        const ref = await leaseOne(queue);
        await service.runs.abortRun({ name });
        await service.workers.failRun({ lease: ref, error: { code: 'ABORTED' } });
      },
    ],
    [
      'exceeds its time',
      async (queue: string, name: string) => {
        await leaseOne(queue);
        await lapse(database.pool, name, 'attempt_deadline');
        expect(await reap(database.pool, false)).toBe(1);
      },
    ],
    [
      'is not heard of any more',
      async (queue: string, name: string) => {
        await leaseOne(queue);
        await lapse(database.pool, name, 'expire_time');
        expect(await reap(database.pool, true)).toBe(1);
      },
    ],
  ])('starts the next when the running one %s', async (_, end) => {
    const { next, queue } = sharedKey(OverlapPolicy.BUFFER_ALL);
    const requests = [next(), next(), next()] as const;
    await createAll(requests);
    await end(queue, nameOf(requests[0]));
    expect((await phasesOf(requests)).slice(1)).toEqual(['QUEUED', 'BUFFERED']);
  });

  test('goes on with the next when a buffered one is aborted', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.BUFFER_ALL);
    const requests = [next(), next(), next()] as const;
    await createAll(requests);
    await service.runs.abortRun({ name: nameOf(requests[1]), reason: 'not this one' });
    await complete(await leaseOne(queue));
    expect(await phasesOf(requests)).toEqual(['SUCCEEDED', 'ABORTED', 'QUEUED']);
  });

  test('survives the service: what is buffered starts under another one', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.BUFFER_ALL);
    const requests = [next(), next()] as const;
    await using gone = await startRuns(database, { instance: 'test-3' });
    for (const request of requests) await gone.runs.createRun(request);
    await gone[Symbol.asyncDispose]();
    await complete(await leaseOne(queue));
    expect((await leaseOne(queue)).run).toBe(nameOf(requests[1]));
  });
});

describe('CANCEL_OTHER', () => {
  test('asks the running one to stop, and starts when it has', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.CANCEL_OTHER);
    const requests = [next(), next()] as const;
    expect(await createRun(requests[0])).toBe('STARTED');
    const ref = await leaseOne(queue);
    expect(await createRun(requests[1])).toBe('BUFFERED');
    expect(await noneReady(queue)).toBe(true);
    const { results } = await service.workers.heartbeat({ worker: 'w', leases: [ref] });
    expect(results[0]?.abort).toBe(true);
    await service.workers.failRun({ lease: ref, error: { code: 'ABORTED' } });
    expect(await phasesOf(requests)).toEqual(['ABORTED', 'QUEUED']);
    const { run } = await service.runs.getRun({ name: ref.run });
    expect(run?.error).toMatchObject({
      code: 'ABORTED',
      message: `its overlap policy, CANCEL_OTHER: ${requests[1].runId} takes its place`,
    });
  });

  test('of a worker that never answers starts when its lease has run out', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.CANCEL_OTHER);
    const requests = [next({}, 5), next()] as const;
    await createRun(requests[0]);
    const ref = await leaseOne(queue);
    expect(await createRun(requests[1])).toBe('BUFFERED');
    await lapse(database.pool, ref.run, 'expire_time');
    expect(await reap(database.pool, true)).toBe(1);
    expect(await phasesOf(requests)).toEqual(['ABORTED', 'QUEUED']);
  });

  test('of a worker that succeeds all the same starts then', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.CANCEL_OTHER);
    const requests = [next(), next()] as const;
    await createRun(requests[0]);
    const ref = await leaseOne(queue);
    await createRun(requests[1]);
    await complete(ref);
    expect(await phasesOf(requests)).toEqual(['SUCCEEDED', 'QUEUED']);
  });

  test('ends at once what no worker has, and starts at once', async () => {
    const { next } = sharedKey(OverlapPolicy.CANCEL_OTHER);
    const requests = times(3, () => next());
    expect(await createAll(requests)).toEqual(['STARTED', 'STARTED', 'STARTED']);
    expect(await phasesOf(requests)).toEqual(['ABORTED', 'ABORTED', 'QUEUED']);
  });

  test('lets the latest wait alone', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.CANCEL_OTHER);
    const requests = [next(), next(), next(), next()] as const;
    await createRun(requests[0]);
    const ref = await leaseOne(queue);
    expect(await createAll(requests.slice(1))).toEqual(['BUFFERED', 'BUFFERED', 'BUFFERED']);
    expect(await phasesOf(requests)).toEqual(['RUNNING', 'ABORTED', 'ABORTED', 'BUFFERED']);
    await complete(ref);
    expect((await leaseOne(queue)).run).toBe(nameOf(requests[3]));
  });

  test('never stops a run of a later nominal time', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.CANCEL_OTHER);
    const [early, late] = [next(), next()];
    await createRun(late);
    await leaseOne(queue);
    expect(await createRun(early)).toBe('SKIPPED');
    expect((await service.runs.getRun({ name: nameOf(late) })).run?.abortRequestTime).toBeUndefined();
  });

  test('with a limit stops the oldest, as many as it takes', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.CANCEL_OTHER, 2);
    const requests = times(4, () => next());
    await createAll(requests.slice(0, 2));
    const leases = await lease(queue, 2);
    expect(await createAll(requests.slice(2))).toEqual(['BUFFERED', 'BUFFERED']);
    for (const [index, leased] of leases.entries()) {
      await service.workers.failRun({ lease: refOf(leased), error: { code: 'ABORTED' } });
      expect((await phasesOf(requests)).filter((phase) => phase === 'QUEUED')).toHaveLength(index + 1);
    }
    expect(await phasesOf(requests)).toEqual(['ABORTED', 'ABORTED', 'QUEUED', 'QUEUED']);
  });
});

describe('TERMINATE_OTHER', () => {
  test('ends the running one and starts; what its worker says later is stale', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.TERMINATE_OTHER);
    const requests = [next({}, 5), next()] as const;
    await createRun(requests[0]);
    const stale = await leaseOne(queue);
    expect(await createRun(requests[1])).toBe('STARTED');
    expect(await phasesOf(requests)).toEqual(['ABORTED', 'QUEUED']);
    const { results } = await service.workers.heartbeat({ worker: 'w', leases: [stale] });
    expect(results[0]?.error?.code).toBe(Code.FailedPrecondition);
    expect(reasonOf(await refusal(complete(stale)))).toBe('LEASE_LOST');
    const failing = service.workers.failRun({ lease: stale, error: { code: 'ABORTED' } });
    expect(reasonOf(await refusal(failing))).toBe('LEASE_LOST');
    expect((await service.runs.getRun({ name: stale.run })).run).toMatchObject({
      phase: RunPhase.ABORTED,
      attempt: 1,
      error: { code: 'ABORTED' },
    });
    expect((await leaseOne(queue)).run).toBe(nameOf(requests[1]));
  });

  test('of five in one batch leaves the latest', async () => {
    const { next } = sharedKey(OverlapPolicy.TERMINATE_OTHER);
    const requests = times(5, () => next());
    const { results } = await service.runs.batchCreateRuns({ requests });
    expect(new Set(results.map(({ outcome }) => outcomeName(outcome)))).toEqual(new Set(['STARTED']));
    expect(await phasesOf(requests)).toEqual([...times(4, () => 'ABORTED'), 'QUEUED']);
  });

  test('is undone when the run is written too late', async () => {
    const { next, queue } = sharedKey(OverlapPolicy.TERMINATE_OTHER);
    const running = next();
    await createRun(running);
    const ref = await leaseOne(queue);
    const late = next({ notAfter: timestampFromMs(Date.now() - 1_000) });
    expect(reasonOf(await refusal(service.runs.createRun(late)))).toBe('EXPIRED');
    const taken = { ...next(), runId: running.runId };
    expect(reasonOf(await refusal(service.runs.createRun(taken)))).toBe('RUN_EXISTS');
    await complete(ref);
    expect(await phaseOf(running)).toBe('SUCCEEDED');
  });
});

test('an edit of the policy meets the runs of before', async () => {
  const { key, next, queue } = sharedKey(OverlapPolicy.BUFFER_ALL);
  const before = times(3, () => next());
  await createAll(before);
  const edited = (policy: OverlapPolicy, limit: number) =>
    next({ concurrency: create(ConcurrencySchema, { key, policy, limit }) });
  const raised = edited(OverlapPolicy.BUFFER_ALL, 3);
  expect(await createRun(raised)).toBe('BUFFERED');
  const terminating = edited(OverlapPolicy.TERMINATE_OTHER, 1);
  expect(await createRun(terminating)).toBe('STARTED');
  expect(await phasesOf([...before, raised])).toEqual(times(4, () => 'ABORTED'));
  expect((await leaseOne(queue)).run).toBe(nameOf(terminating));
});

test('a plain run waits for nobody who has locked a key', async () => {
  const { next, key } = sharedKey(OverlapPolicy.SKIP);
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await client.query(`insert into concurrency_keys values ('p', 'd', $1)`, [key]);
    const waiting = service.runs.createRun(next());
    const plain = adHoc();
    await service.runs.createRun(plain);
    const ref = await leaseOne('default');
    await complete(ref);
    await client.query('commit');
    expect((await waiting).outcome).toBe(RunOutcome.STARTED);
  } finally {
    client.release();
  }
});

test('rows of runs that ended without them, or are gone, are mended; keys that nobody uses are swept', async () => {
  const gone = sharedKey(OverlapPolicy.BUFFER_ALL);
  const ended = sharedKey(OverlapPolicy.BUFFER_ALL);
  const requests = [gone, ended].map(({ next }) => [next(), next()] as const);
  for (const pair of requests) await createAll(pair);
  const [forgotten, aborted] = requests.map(([first]) => first.runId);
  await database.pool.query('delete from ready_runs where run_id = any($1)', [[forgotten, aborted]]);
  await database.pool.query('delete from runs where run_id = $1', [forgotten]);
  await database.pool.query(
    `update runs set phase = 'ABORTED', end_time = clock_timestamp() where run_id = $1`,
    [aborted],
  );
  expect(await brokenInvariants(database.pool)).not.toEqual([]);

  const db = createDatabase<RunTables>(database.pool);
  await mendKeys({ db, ...unheard() });
  expect(await phasesOf(requests.map(([, waiting]) => waiting))).toEqual(['QUEUED', 'QUEUED']);
  expect((await selectStrayRuns(db, undefined, 1_000)).strays).toEqual([]);
  expect(await transaction(db, {}, (trx) => forgetStrayRuns(trx, []))).toEqual([]);
  const { rows } = await database.pool.query<{ left: number }>(
    `select count(*)::int as left from concurrency_keys k
     where not exists (select from keyed_runs r where (r.project, r.domain, r.key) = (k.project, k.domain, k.key))`,
  );
  expect(rows).toEqual([{ left: 0 }]);
});
