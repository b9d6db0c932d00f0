import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { createDatabase } from '@carillon/db';
import type { RunTables } from '@carillon/db/tables/runs.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunPhase, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { createLogger, systemEntropy } from '@carillon/server';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { Reaper } from './reaper.ts';
import { RunHints } from './run-hints.ts';
import { RunMetrics } from './run-metrics.ts';
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

const LEASE_TTL_MS = 30_000;

const database = useDatabase();
let service: ServiceUnderTest;

beforeAll(async () => {
  // Its own reaper waits for a lease time before it takes anything back, so the tests' ones are alone.
  service = await startRuns(database, { leaseTtlMs: 600_000 });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

let clock: ManualClock;
beforeEach(() => {
  clock = new ManualClock();
});

function reaper(fails: () => boolean = () => false): Reaper {
  const pool = new Proxy(database.pool, {
    get(target, property) {
      if (property === 'connect' && fails()) return () => Promise.reject(new Error('Connection terminated'));
      const value: unknown = Reflect.get(target, property);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return new Reaper({
    db: createDatabase<RunTables>(pool),
    clock,
    entropy: systemEntropy,
    hints: new RunHints({ notify: () => undefined }),
    metrics: new RunMetrics(new Registry()),
    logger: createLogger({ service: 'runs', instance: 'test', level: 'silent' }),
    leaseTtlMs: LEASE_TTL_MS,
  });
}

/** Lets a reaper run once a second for some time. Answers with how many attempts it ended. */
async function pass(reaping: Reaper, ms: number): Promise<number> {
  let ended = 0;
  for (let at = 0; at < ms; at += 1_000) {
    clock.advance(1_000);
    ended += await reaping.reap();
  }
  return ended;
}

let queues = 0;

async function leased(maxAttempts: number) {
  const queue = `q${++queues}`;
  const spec = create(RunSpecSchema, {
    task: 't',
    queue,
    retry: { maxAttempts, initialBackoff: durationFromMs(1), maxBackoff: durationFromMs(1) },
  });
  const request = adHoc({ spec });
  await service.runs.createRun(request);
  const { leases } = await service.workers.leaseRuns({
    worker: 'w',
    queues: [queue],
    wait: durationFromMs(5_000),
  });
  const ref = refOf(leases[0]);
  expect(ref.run).toBe(nameOf(request));
  return ref;
}

async function expire(column: 'expire_time' | 'attempt_deadline' = 'expire_time'): Promise<void> {
  await database.pool.query(`update run_leases set ${column} = clock_timestamp() - interval '1 second'`);
}

test('takes back a lease that ran out: the run is tried again, and then has failed', async () => {
  const reaping = reaper();
  const first = await leased(2);
  await expire();
  expect(await pass(reaping, LEASE_TTL_MS + 1_000)).toBe(1);
  const { run } = await service.runs.getRun({ name: first.run });
  expect(run).toMatchObject({ phase: RunPhase.QUEUED, attempt: 1, error: { code: 'LEASE_EXPIRED' } });
  for (const call of [
    () => service.workers.completeRun({ lease: first }),
    () => service.workers.failRun({ lease: first, error: { code: 'BROKEN' } }),
  ]) {
    expect(reasonOf(await refusal(call()))).toBe('LEASE_LOST');
  }
  const { leases } = await service.workers.leaseRuns({
    worker: 'w2',
    queues: [run?.spec?.queue ?? ''],
    wait: durationFromMs(5_000),
  });
  expect(leases[0]?.run).toMatchObject({ name: first.run, attempt: 2, worker: 'w2' });
  await expire();
  expect(await reaping.reap()).toBe(1);
  expect((await service.runs.getRun({ name: first.run })).run).toMatchObject({
    phase: RunPhase.FAILED,
    error: { code: 'LEASE_EXPIRED' },
  });
  expect(await brokenInvariants(database.pool)).toEqual([]);
});

test('leaves living leases alone', async () => {
  const ref = await leased(1);
  expect(await pass(reaper(), LEASE_TTL_MS + 1_000)).toBe(0);
  await service.workers.completeRun({ lease: ref });
});

test('ends an attempt that exceeded its time, whatever its heartbeats say, and at once', async () => {
  const ref = await leased(1);
  await expire('attempt_deadline');
  expect(await reaper().reap()).toBe(1);
  expect((await service.runs.getRun({ name: ref.run })).run).toMatchObject({
    phase: RunPhase.TIMED_OUT,
    error: { code: 'ATTEMPT_TIMEOUT' },
  });
});

test('aborts a run whose worker was asked to stop and was lost', async () => {
  const reaping = reaper();
  const ref = await leased(5);
  await service.runs.abortRun({ name: ref.run, reason: 'stop' });
  await expire();
  await pass(reaping, LEASE_TTL_MS + 1_000);
  expect((await service.runs.getRun({ name: ref.run })).run).toMatchObject({
    phase: RunPhase.ABORTED,
    error: { code: 'ABORTED', message: 'stop; LEASE_EXPIRED: the worker was not heard of in time' },
  });
});

test.each([
  ['it has just started', async () => undefined],
  [
    'it could not reach the database',
    async (reaping: Reaper, breakDatabase: (broken: boolean) => void) => {
      await pass(reaping, LEASE_TTL_MS + 1_000);
      breakDatabase(true);
      await expect(reaping.reap()).rejects.toThrow('Connection terminated');
      breakDatabase(false);
    },
  ],
  [
    'it stood still',
    async (reaping: Reaper) => {
      await pass(reaping, LEASE_TTL_MS + 1_000);
      clock.advance(10_000);
    },
  ],
])('gives workers a lease time to be heard again when %s', async (_, happen) => {
  let broken = false;
  const reaping = reaper(() => broken);
  const ref = await leased(1);
  await happen(reaping, (value) => {
    broken = value;
  });
  await expire();
  expect(await pass(reaping, LEASE_TTL_MS - 2_000)).toBe(0);
  expect(await stored(database.pool, ref.run)).toMatchObject({ phase: 'RUNNING', leases: 1 });
  // Expired and not taken back: the heartbeat comes in time.
  const { results } = await service.workers.heartbeat({ worker: 'w', leases: [ref] });
  expect(results[0]?.error).toBeUndefined();
  expect(await pass(reaping, LEASE_TTL_MS)).toBe(0);
  await service.workers.completeRun({ lease: ref });
});

test('several reap at once without taking anything back twice', async () => {
  const refs = [];
  for (let n = 0; n < 20; n++) refs.push(await leased(2));
  await expire('attempt_deadline');
  const ended = await Promise.all(Array.from({ length: 4 }, () => reaper().reap()));
  expect(ended.reduce((sum, count) => sum + count, 0)).toBe(20);
  for (const { run } of refs)
    expect(await stored(database.pool, run)).toMatchObject({ phase: 'QUEUED', attempt: 1, ready: 1 });
});

test('forgets a lease whose run was deleted', async () => {
  const ref = await leased(1);
  await database.pool.query('delete from runs where run_id = $1', [ref.run.split('/').at(-1)]);
  await expire('attempt_deadline');
  expect(await reaper().reap()).toBe(1);
  expect(await reaper().reap()).toBe(0);
});
