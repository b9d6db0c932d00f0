import { create } from '@bufbuild/protobuf';
import type { Entropy } from '@carillon/core/clock.ts';
import { createDatabase } from '@carillon/db';
import type { RunTables } from '@carillon/db/tables/runs.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { createLogger, systemClock, systemEntropy } from '@carillon/server';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Dispatcher, type LeaseDemand } from './dispatcher.ts';
import { RunHints } from './run-hints.ts';
import { RunMetrics } from './run-metrics.ts';
import {
  adHoc,
  brokenInvariants,
  nameOf,
  type ServiceUnderTest,
  startRuns,
  stored,
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

function dispatcher(entropy: Entropy = systemEntropy, pool = database.pool): Dispatcher {
  return new Dispatcher({
    db: createDatabase<RunTables>(pool),
    clock: systemClock,
    entropy,
    hints: new RunHints({ notify: () => undefined }),
    metrics: new RunMetrics(new Registry()),
    logger: createLogger({ service: 'runs', instance: 'test', level: 'silent' }),
    leaseTtlMs: 30_000,
  });
}

let queues = 0;

/** Creates runs in a queue of their own. */
async function queued(runs: number): Promise<{ queue: string; names: string[] }> {
  const queue = `q${++queues}`;
  const requests = Array.from({ length: runs }, () =>
    adHoc({ spec: create(RunSpecSchema, { task: 't', queue }) }),
  );
  if (runs > 0) await service.runs.batchCreateRuns({ requests });
  return { queue, names: requests.map(nameOf) };
}

const demand = (queue: string, changes: Partial<LeaseDemand> = {}): LeaseDemand => ({
  worker: 'w',
  queues: [queue],
  limit: 10,
  waitMs: 10_000,
  signal: new AbortController().signal,
  draining: new AbortController().signal,
  ...changes,
});

test('spreads runs over the workers that wait, however much the first of them would take', async () => {
  const dispatching = dispatcher();
  const workers = ['w1', 'w2', 'w3'];
  const { queue: later } = await queued(0);
  const waiting = workers.map((worker) => dispatching.lease(demand(later, { worker })));
  const request = (n: number) => adHoc({ spec: create(RunSpecSchema, { task: `t${n}`, queue: later }) });
  await service.runs.batchCreateRuns({ requests: Array.from({ length: 6 }, (_, n) => request(n)) });
  dispatching.wake(new Set([later]));
  expect((await Promise.all(waiting)).map((rows) => rows.map(({ worker }) => worker))).toEqual(
    workers.map((worker) => [worker, worker]),
  );
});

test('hands runs back, attempt and place included, when their worker goes while they are leased', async () => {
  const { queue, names } = await queued(2);
  const gone = new AbortController();
  const leaving: Entropy = {
    ...systemEntropy,
    uuid: () => {
      gone.abort(new Error('gone'));
      return systemEntropy.uuid();
    },
  };
  await expect(dispatcher(leaving).lease(demand(queue, { signal: gone.signal }))).rejects.toThrow('gone');
  for (const name of names) {
    await expect
      .poll(() => stored(database.pool, name))
      .toEqual({ phase: 'QUEUED', attempt: 0, ready: 1, leases: 0 });
  }
  const rows = await dispatcher().lease(demand(queue));
  expect(rows.map(({ attempt, run_id }) => [attempt, run_id])).toEqual(
    names.map((name) => [1, name.split('/').at(-1)]),
  );
});

test('answers those who wait when the server drains', async () => {
  const { queue } = await queued(0);
  const draining = new AbortController();
  const waiting = dispatcher().lease(demand(queue, { draining: draining.signal }));
  draining.abort();
  expect(await waiting).toEqual([]);
});

test('tells those who wait when the database fails, and serves the next ones', async () => {
  const { queue } = await queued(1);
  let broken = true;
  const pool = new Proxy(database.pool, {
    get(target, property) {
      if (property === 'connect' && broken) return () => Promise.reject(new Error('Connection terminated'));
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const dispatching = dispatcher(systemEntropy, pool);
  await expect(dispatching.lease(demand(queue))).rejects.toThrow('Connection terminated');
  broken = false;
  expect(await dispatching.lease(demand(queue))).toHaveLength(1);
});

test('finds by itself what nobody announced, and what falls due', async () => {
  const { queue } = await queued(0);
  const dispatching = dispatcher();
  const waiting = dispatching.lease(demand(queue));
  await service.runs.createRun(adHoc({ spec: create(RunSpecSchema, { task: 't', queue }) }));
  // Its hints went to the service's own dispatcher.
  expect(await waiting).toHaveLength(1);
});
