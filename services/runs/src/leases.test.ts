import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { anyUnpack, durationFromMs } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunPhase, type RunSpec, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { Lease } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code } from '@connectrpc/connect';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  adHoc,
  brokenInvariants,
  nameOf,
  reasonOf,
  refOf,
  refusal,
  type ServiceUnderTest,
  startRuns,
  stored,
} from './service-under-test.ts';

const database = useDatabase();
let service: ServiceUnderTest;
let second: ServiceUnderTest;

beforeAll(async () => {
  service = await startRuns(database);
  second = await startRuns(database, { instance: 'test-2' });
});
afterAll(async () => {
  await Promise.all([service[Symbol.asyncDispose](), second[Symbol.asyncDispose]()]);
});
afterEach(async () => {
  expect(await brokenInvariants(database.pool)).toEqual([]);
});

/** What a spec is made of. */
type SpecInit = Omit<Exclude<MessageInitShape<typeof RunSpecSchema>, RunSpec>, '$typeName'>;

let queues = 0;
/** A queue of the test's own. */
const newQueue = (): string => `q${++queues}`;

/** Creates a run in a queue, and answers its name. */
async function queued(queue: string, spec: SpecInit = {}): Promise<string> {
  const request = adHoc({ spec: create(RunSpecSchema, { task: 't', ...spec, queue }) });
  await service.runs.createRun(request);
  return nameOf(request);
}

const policy = (maxAttempts: number): SpecInit => ({
  retry: { maxAttempts, initialBackoff: durationFromMs(1), maxBackoff: durationFromMs(1) },
});

/** Leases one run, waiting for it. */
async function lease(queue: string, worker = 'w', from = service): Promise<Lease> {
  const { leases } = await from.workers.leaseRuns({ worker, queues: [queue], wait: durationFromMs(10_000) });
  const [only] = leases;
  if (only === undefined) throw new Error(`nothing to lease in ${queue}`);
  return only;
}

const tail = {
  content: { case: 'data' as const, value: new TextEncoder().encode('tail') },
  contentType: 'text/plain',
};

describe('LeaseRuns', () => {
  test('leases the longest waiting first, with inputs, and begins the attempt', async () => {
    const queue = newQueue();
    const names = [];
    for (let n = 0; n < 3; n++) names.push(await queued(queue, { labels: { n: String(n) } }));
    const { leases } = await service.workers.leaseRuns({ worker: 'w1', queues: [queue], maxRuns: 2 });
    expect(leases.map(({ run }) => run?.name)).toEqual(names.slice(0, 2));
    expect(leases[0]?.run).toMatchObject({ phase: RunPhase.RUNNING, attempt: 1, worker: 'w1', version: 2n });
    expect(leases[0]?.run?.startTime).toBeDefined();
    expect(leases[0]?.leaseToken).not.toBe(leases[1]?.leaseToken);
    const ttl = Number(leases[0]?.expireTime?.seconds) - Number(leases[0]?.run?.startTime?.seconds);
    expect(ttl).toBeGreaterThanOrEqual(29);
    expect(await stored(database.pool, names[0] ?? '')).toEqual({
      phase: 'RUNNING',
      attempt: 1,
      ready: 0,
      leases: 1,
    });
  });

  test('gives each run to one worker, however many ask at both replicas', async () => {
    const queue = newQueue();
    const { results } = await service.runs.batchCreateRuns({
      requests: Array.from({ length: 300 }, () =>
        adHoc({ spec: create(RunSpecSchema, { task: 't', queue }) }),
      ),
    });
    expect(results.every(({ error }) => error === undefined)).toBe(true);
    const leased: string[] = [];
    await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const { workers } = index % 2 === 0 ? service : second;
        for (;;) {
          const { leases } = await workers.leaseRuns({ worker: `w-${index}`, queues: [queue], maxRuns: 7 });
          if (leases.length === 0) return;
          leased.push(...leases.map(({ run }) => run?.name ?? ''));
        }
      }),
    );
    // Whoever was passed over while others held the rows may have stopped too early.
    const { leases: rest } = await service.workers.leaseRuns({ worker: 'w', queues: [queue], maxRuns: 500 });
    const all = [...leased, ...rest.map(({ run }) => run?.name ?? '')];
    expect(all).toHaveLength(300);
    expect(new Set(all).size).toBe(300);
  });

  test('takes from several queues, the longest waiting queue first', async () => {
    const [a, b, c] = [newQueue(), newQueue(), newQueue()];
    const first = await queued(b);
    const later = await queued(a);
    const { leases } = await service.workers.leaseRuns({ worker: 'w', queues: [a, b, c], maxRuns: 5 });
    expect(leases.map(({ run }) => run?.name)).toEqual([first, later]);
  });

  test('leases no more at once than an answer can hold', async () => {
    const queue = newQueue();
    const inputs = { content: { case: 'data' as const, value: new Uint8Array(1_000_000) } };
    const names = [];
    for (let n = 0; n < 20; n++) names.push(await queued(queue, { inputs }));
    const seen: string[] = [];
    for (const share of [8, 8, 4, 0]) {
      const { leases } = await service.workers.leaseRuns({ worker: 'w', queues: [queue], maxRuns: 500 });
      expect(leases).toHaveLength(share);
      seen.push(...leases.map(({ run }) => run?.name ?? ''));
    }
    expect(seen).toEqual(names);
  });

  test('waits for a run, and is woken by its creation at another replica', async () => {
    const queue = newQueue();
    const waiting = lease(queue, 'w', second);
    const started = performance.now();
    const name = await queued(queue);
    expect((await waiting).run?.name).toBe(name);
    // By the hint: without it the queue is looked at every second.
    expect(performance.now() - started).toBeLessThan(900);
  });

  test('answers with none when the wait is over, or at once without one', async () => {
    const queue = newQueue();
    expect((await service.workers.leaseRuns({ worker: 'w', queues: [queue] })).leases).toEqual([]);
    const started = performance.now();
    const { leases } = await service.workers.leaseRuns({
      worker: 'w',
      queues: [queue],
      wait: durationFromMs(200),
    });
    expect(leases).toEqual([]);
    expect(performance.now() - started).toBeGreaterThan(190);
  });

  test('does not give runs to a worker that has gone', async () => {
    const queue = newQueue();
    const gone = new AbortController();
    const call = service.workers.leaseRuns(
      { worker: 'gone', queues: [queue], wait: durationFromMs(10_000) },
      { signal: gone.signal },
    );
    gone.abort();
    expect((await refusal(call)).code).toBe(Code.Canceled);
    const name = await queued(queue);
    expect((await lease(queue, 'here')).run).toMatchObject({ name, attempt: 1, worker: 'here' });
  });
});

describe('Heartbeat', () => {
  test('extends leases, and tells which are lost', async () => {
    const queue = newQueue();
    await Promise.all([queued(queue), queued(queue)]);
    const [kept, ended] = [await lease(queue), await lease(queue)];
    await service.workers.completeRun({ lease: refOf(ended) });
    const stale = [
      refOf(ended),
      { run: refOf(ended).run, leaseToken: refOf(kept).leaseToken },
      { ...refOf(kept), leaseToken: 'x' },
      { ...refOf(kept), leaseToken: `${refOf(kept).leaseToken.slice(0, 36)}.2026-99-99` },
    ];
    const { results } = await service.workers.heartbeat({ worker: 'w', leases: [...stale, refOf(kept)] });
    for (const result of results.slice(0, -1)) {
      const [info] = result.error?.details.map((any) => anyUnpack(any, ErrorInfoSchema)) ?? [];
      expect([result.error?.code, info?.reason]).toEqual([Code.FailedPrecondition, 'LEASE_LOST']);
    }
    const last = results.at(-1);
    expect(last?.error).toBeUndefined();
    expect(Number(last?.expireTime?.seconds)).toBeGreaterThanOrEqual(Number(kept.expireTime?.seconds));
  });

  test('without leases only tells that the worker is alive', async () => {
    const { leaseTtl, heartbeatInterval } = await service.workers.registerWorker({
      worker: 'alive',
      slots: 3,
    });
    expect([Number(leaseTtl?.seconds), Number(heartbeatInterval?.seconds)]).toEqual([30, 10]);
    const seen = async () =>
      (await database.pool.query("select seen_time from workers where worker = 'alive'")).rows[0].seen_time;
    const before = await seen();
    expect((await service.workers.heartbeat({ worker: 'alive' })).results).toEqual([]);
    expect(Number(await seen())).toBeGreaterThan(Number(before));
  });
});

describe('CompleteRun', () => {
  test('ends the run with its output, and may be repeated', async () => {
    const queue = newQueue();
    const name = await queued(queue);
    const ref = refOf(await lease(queue));
    const calls = await Promise.all([
      service.workers.completeRun({ lease: ref, output: tail }),
      service.workers.completeRun({ lease: ref, output: tail }),
      second.workers.completeRun({ lease: ref, output: tail }),
    ]);
    for (const { run } of calls) expect(run).toMatchObject({ phase: RunPhase.SUCCEEDED, version: 3n });
    const { run } = await service.runs.getRun({ name });
    expect(run?.output).toMatchObject(tail);
    expect(run?.endTime).toBeDefined();
    expect(await stored(database.pool, name)).toEqual({
      phase: 'SUCCEEDED',
      attempt: 1,
      ready: 0,
      leases: 0,
    });
  });

  test('of many runs at once ends each with its own output', async () => {
    const queue = newQueue();
    await service.runs.batchCreateRuns({
      requests: Array.from({ length: 100 }, () =>
        adHoc({ spec: create(RunSpecSchema, { task: 't', queue }) }),
      ),
    });
    const { leases } = await service.workers.leaseRuns({ worker: 'w', queues: [queue], maxRuns: 100 });
    await Promise.all(
      leases.map((held) =>
        service.workers.completeRun({
          lease: refOf(held),
          output: { content: { case: 'values', value: { name: held.run?.name ?? '' } } },
        }),
      ),
    );
    for (const { run } of leases.slice(0, 10)) {
      const read = await service.runs.getRun({ name: run?.name ?? '' });
      expect(read.run?.output?.content.value).toEqual({ name: run?.name });
    }
  });

  test('under a stale token is refused, and changes nothing', async () => {
    const queue = newQueue();
    const name = await queued(queue, policy(2));
    const first = refOf(await lease(queue));
    await service.workers.failRun({ lease: first, error: { code: 'BROKEN' } });
    const next = refOf(await lease(queue));
    for (const call of [
      () => service.workers.completeRun({ lease: first }),
      () => service.workers.failRun({ lease: first, error: { code: 'BROKEN' } }),
      () => service.workers.completeRun({ lease: { ...next, leaseToken: 'nonsense' } }),
    ]) {
      const error = await refusal(call());
      expect([error.code, reasonOf(error)]).toEqual([Code.FailedPrecondition, 'LEASE_LOST']);
    }
    expect(await stored(database.pool, name)).toMatchObject({ phase: 'RUNNING', attempt: 2, leases: 1 });
    await service.workers.completeRun({ lease: next });
    const late = await refusal(service.workers.failRun({ lease: next, error: { code: 'BROKEN' } }));
    expect(reasonOf(late)).toBe('LEASE_LOST');
  });
});

describe('FailRun', () => {
  test('queues the run again while its policy allows, and then fails it', async () => {
    const queue = newQueue();
    const name = await queued(queue, policy(2));
    const first = refOf(await lease(queue));
    const { run } = await service.workers.failRun({
      lease: first,
      error: { code: 'EXIT_STATUS', message: 'status 2' },
      output: tail,
    });
    expect(run).toMatchObject({
      phase: RunPhase.QUEUED,
      attempt: 1,
      error: { code: 'EXIT_STATUS', message: 'status 2' },
    });
    expect(run?.nextAttemptTime).toBeDefined();
    expect((await service.runs.getRun({ name })).run?.output).toMatchObject(tail);
    const again = await service.workers.failRun({ lease: first, error: { code: 'EXIT_STATUS' } });
    expect(again.run?.version).toBe(run?.version);
    const second = refOf(await lease(queue));
    const last = await service.workers.failRun({ lease: second, error: { code: 'EXIT_STATUS' } });
    expect(last.run).toMatchObject({ phase: RunPhase.FAILED, attempt: 2 });
    expect(last.run?.endTime).toBeDefined();
    const repeated = await service.workers.failRun({ lease: second, error: { code: 'EXIT_STATUS' } });
    expect(repeated.run?.version).toBe(last.run?.version);
  });

  test('that is permanent fails it at once', async () => {
    const queue = newQueue();
    await queued(queue, policy(5));
    const { run } = await service.workers.failRun({
      lease: refOf(await lease(queue)),
      error: { code: 'BAD_INPUTS' },
      permanent: true,
    });
    expect(run).toMatchObject({ phase: RunPhase.FAILED, attempt: 1 });
  });

  test('waits for the back-off before the next attempt', async () => {
    const queue = newQueue();
    const spec = {
      retry: {
        maxAttempts: 2,
        initialBackoff: durationFromMs(3_600_000),
        maxBackoff: durationFromMs(3_600_000),
      },
    };
    const name = await queued(queue, spec);
    await service.workers.failRun({ lease: refOf(await lease(queue)), error: { code: 'BROKEN' } });
    expect((await service.workers.leaseRuns({ worker: 'w', queues: [queue] })).leases).toEqual([]);
    expect(await stored(database.pool, name)).toMatchObject({ phase: 'QUEUED', ready: 1 });
  });
});

describe('AbortRun', () => {
  test('ends a queued run at once; it is never leased', async () => {
    const queue = newQueue();
    const name = await queued(queue);
    const { run } = await service.runs.abortRun({ name, reason: 'not needed' });
    expect(run).toMatchObject({ phase: RunPhase.ABORTED, error: { code: 'ABORTED', message: 'not needed' } });
    expect((await service.workers.leaseRuns({ worker: 'w', queues: [queue] })).leases).toEqual([]);
  });

  test('ends a run that waits for its next attempt', async () => {
    const queue = newQueue();
    const name = await queued(queue, policy(3));
    const ref = refOf(await lease(queue));
    await service.workers.failRun({ lease: ref, error: { code: 'BROKEN' } });
    expect((await service.runs.abortRun({ name })).run?.phase).toBe(RunPhase.ABORTED);
  });

  test('asks the worker of a running one, which answers', async () => {
    const queue = newQueue();
    const name = await queued(queue, policy(3));
    const ref = refOf(await lease(queue));
    const asked = await service.runs.abortRun({ name, reason: 'wrong day' });
    expect(asked.run?.phase).toBe(RunPhase.RUNNING);
    expect(asked.run?.abortRequestTime).toBeDefined();
    const twice = await service.runs.abortRun({ name, reason: 'again' });
    expect(twice.run?.version).toBe(asked.run?.version);
    const { results } = await service.workers.heartbeat({ worker: 'w', leases: [ref] });
    expect(results[0]?.abort).toBe(true);
    const { run } = await service.workers.failRun({
      lease: ref,
      error: { code: 'ABORTED', message: 'stopped' },
    });
    expect(run).toMatchObject({
      phase: RunPhase.ABORTED,
      error: { code: 'ABORTED', message: 'wrong day; stopped' },
    });
    expect(run?.abortRequestTime).toBeUndefined();
  });

  test('does not undo work that was done meanwhile', async () => {
    const queue = newQueue();
    const name = await queued(queue);
    const ref = refOf(await lease(queue));
    await service.runs.abortRun({ name });
    expect((await service.workers.completeRun({ lease: ref })).run?.phase).toBe(RunPhase.SUCCEEDED);
  });

  test('of a terminal run changes nothing', async () => {
    const queue = newQueue();
    const name = await queued(queue);
    const ref = refOf(await lease(queue));
    const done = await service.workers.completeRun({ lease: ref });
    expect((await service.runs.abortRun({ name })).run).toMatchObject({
      phase: RunPhase.SUCCEEDED,
      version: done.run?.version,
    });
  });

  test('of a name that does not exist is NOT_FOUND', async () => {
    const error = await refusal(service.runs.abortRun({ name: 'projects/p/domains/d/runs/none' }));
    expect(error.code).toBe(Code.NotFound);
  });
});

test('whatever is done at once, to few runs by many, leaves each with what its phase needs', async () => {
  const queue = newQueue();
  const names: string[] = [];
  for (let n = 0; n < 30; n++) names.push(await queued(queue, policy(4)));
  const outcomes = new Set<string>();
  await Promise.all(
    Array.from({ length: 12 }, async (_, actor) => {
      const { runs, workers } = actor % 2 === 0 ? service : second;
      const note = (call: Promise<unknown>) =>
        call.then(
          () => undefined,
          (error: unknown) => void outcomes.add(String(error)),
        );
      for (let turn = 0; turn < 15; turn++) {
        const { leases } = await workers.leaseRuns({ worker: `w-${actor}`, queues: [queue], maxRuns: 3 });
        for (const [index, held] of leases.entries()) {
          const ref = refOf(held);
          const step = (actor + turn + index) % 4;
          if (step === 0) await note(workers.completeRun({ lease: ref }));
          else if (step === 1) await note(workers.failRun({ lease: ref, error: { code: 'BROKEN' } }));
          else if (step === 2) {
            await note(
              Promise.all([
                workers.heartbeat({ worker: 'w', leases: [ref] }),
                workers.failRun({ lease: ref, error: { code: 'BROKEN' } }),
                workers.completeRun({ lease: ref }),
              ]),
            );
          } else await note(runs.abortRun({ name: ref.run }));
        }
        await note(runs.abortRun({ name: names[(actor * 15 + turn) % names.length] ?? '' }));
      }
    }),
  );
  for (const outcome of outcomes) expect(outcome).toMatch(/lease of .* is lost/);
  expect(await brokenInvariants(database.pool)).toEqual([]);
});
