import { ManualClock } from '@carillon/core/manual-clock.ts';
import { compileRecurrence } from '@carillon/core/recurrence.ts';
import { TokenBucket, type TokenBucketLimits } from '@carillon/core/token-bucket.ts';
import type { Quarantine } from '@carillon/db/tables/schedule-quarantines.ts';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { createLogger } from '@carillon/server';
import { Code } from '@connectrpc/connect';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createdAnswer } from './answer.ts';
import { DatabaseClock } from './database-clock.ts';
import { Engine } from './engine.ts';
import { Executor, type ExecutorOptions } from './executor.ts';
import { SchedulerMetrics } from './metrics.ts';
import type { Slot, WriteOff } from './slot.ts';
import type { ExecutorLimits } from './slot-choice.ts';

/** As real ones do, it goes on while one computes. */
class RunningClock extends ManualClock {
  #readings = 0;

  override monotonic(): number {
    return super.monotonic() + ++this.#readings / 1000;
  }
}

const REFUSED = { message: 'not now', reason: undefined, project: undefined, existing: undefined };
const SCHEDULES = 200;
const EXPIRE_MS = 1e9;
const LOOK = {
  project: 'p',
  domain: 'd',
  uid: 'u',
  revision: 1,
  stop: null,
  run: null,
  databaseNowMs: 1_500,
};

test('slots whose look failed are sent again, all of them, whenever each falls due', async () => {
  let looks = 0;
  const { clock, engine, metrics, fired, executor } = dispatching({
    lastLook: async (slots) => {
      if (++looks === 1) throw new Error('the database is away');
      return await looked(slots);
    },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);

  for (let step = 0; step < 2_000 && engine.outstandingSize + engine.readySize > 0; step++) {
    await pass(clock, 1);
  }

  expect((await metrics.jobPanics.get()).values[0]?.value).toBe(0);
  expect(fired.size).toBe(SCHEDULES);
  expect(engine.outstandingSize).toBe(0);
  stop.abort();
  await running;
});

test("nothing is sent that is not due by the database's clock, which was set back since it was read", async () => {
  let backMs = 1_000;
  const { clock, databaseClock, fired, executor } = dispatching({
    lastLook: async (slots) => {
      const databaseNowMs = 1_500 - backMs + clock.monotonic();
      return slots.map(({ schedule }) => ({ ...LOOK, scheduleId: `s${schedule}`, databaseNowMs }));
    },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);

  await pass(clock, 400);
  expect(fired.size).toBe(0);
  expect(databaseClock.now()).toBeLessThan(1_000);

  // Put right before it is due by the clock that was set back: it goes at the next reading.
  backMs = 0;
  databaseClock.read(1_500 + clock.monotonic());
  for (let step = 0; step < 10; step++) await pass(clock, 200);
  expect(fired.size).toBe(SCHEDULES);
  stop.abort();
  await running;
});

test('a slot that was refused for good may have a copy of its request under way until its not_after', async () => {
  const writeOffs: WriteOff[] = [];
  const { clock, executor } = dispatching({
    create: async (requests) =>
      requests.map(() => ({
        refused: {
          ...REFUSED,
          code: Code.NotFound,
          message: 'there is no such task',
          reason: 'TASK_NOT_FOUND',
        },
      })),
    onWriteOff: (writeOff) => writeOffs.push(writeOff),
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);
  for (let step = 0; step < 10; step++) await pass(clock, 1);
  expect(writeOffs).toHaveLength(SCHEDULES);
  for (const { verdict, notAfterMs } of writeOffs) {
    expect(verdict).toMatchObject({ outcome: 'DEAD', reason: 'NOT_FOUND' });
    expect(notAfterMs).toBe(EXPIRE_MS);
  }
  stop.abort();
  await running;
});

test.each([
  ['is sent again', false, 1],
  ['that yields is not sent again', true, 0],
])('a redrive that failed %s', async (_, yields, again) => {
  const slot: Slot = {
    kind: 'slot',
    schedule: -1,
    id: SCHEDULES + 1,
    revision: 1,
    nominalSec: 1,
    dueMs: 1_000,
    timing: onceAtOneSecond(SCHEDULES + 1).spans[0]!.timing,
    live: false,
    redrive: { requestMs: 1_400, payloadBytes: 100, project: 'p' },
    maybeSentBefore: false,
    spans: 1,
    attempts: 0,
    firedAtMs: 0,
    notAfterMs: 0,
    batchLimit: Number.POSITIVE_INFINITY,
  };
  const ready = [slot];
  const { clock, executor } = dispatching({
    create: async (requests) =>
      requests.map(({ schedule }) =>
        schedule.endsWith(`s${slot.id}`)
          ? { refused: { ...REFUSED, code: Code.Unavailable } }
          : { answer: createdAnswer(RunOutcome.STARTED) },
      ),
    redrives: {
      get readySize() {
        return ready.length;
      },
      take: () => ready.splice(0),
      holds: () => true,
      yields: () => yields,
      fired: fail,
      dead: fail,
      overlapped: fail,
    },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);
  for (let step = 0; step < 10; step++) await pass(clock, 1);
  expect(slot.attempts).toBe(1);
  expect(executor.retrySize).toBe(again);
  stop.abort();
  await running;
});

test('however many missed slots are being sent, one call is free for live ones', async () => {
  const asked: string[][] = [];
  const { clock, engine, executor } = dispatching({
    // They never end.
    create: (requests) => {
      asked.push(requests.map(({ schedule }) => schedule));
      return new Promise(() => undefined);
    },
    liveFromMs: 1_200,
    limits: { maxBatch: 10 },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);
  for (let step = 0; step < 10; step++) await pass(clock, 1);
  expect(asked.map((schedules) => schedules.length)).toEqual([10, 10, 10]);

  engine.apply({
    ...onceAtOneSecond(SCHEDULES + 1),
    live: [{ after: 0, through: Number.POSITIVE_INFINITY }],
    quarantined: [],
  });
  engine.advance(1_500);
  executor.wake();
  for (let step = 0; step < 10; step++) await pass(clock, 1);
  expect(asked.slice(3)).toEqual([[expect.stringMatching(new RegExp(`s${SCHEDULES + 1}$`))]]);
  stop.abort();
  await running;
});

test('a slot whose run cannot be read delays no other, and its schedule hands out nothing more', async () => {
  const added: Quarantine[] = [];
  const { clock, engine, fired, executor } = dispatching({
    lastLook: async (slots) =>
      (await looked(slots)).map((look, index) =>
        look && slots[index]!.schedule === 7 ? { ...look, run: Buffer.from([0xff]) } : look,
      ),
    quarantines: { add: (quarantine) => added.push(quarantine), lift: fail },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);
  for (let step = 0; step < 10; step++) await pass(clock, 1);
  expect(fired.size).toBe(SCHEDULES - 1);
  expect(fired).not.toContain(7);
  expect(added).toEqual([
    {
      schedule: 7,
      generation: 1,
      reason: expect.stringMatching(/^revision 1: what is to be run cannot be read/),
    },
  ]);
  expect(engine.isSuspended(7)).toBe(true);
  expect(engine.quarantinedSize).toBe(1);
  // It is repaired.
  engine.apply({ ...onceAtOneSecond(7), generation: 2 });
  expect(engine.isSuspended(7)).toBe(false);
  stop.abort();
  await running;
});

test('slots that are sent again and again keep no new ones waiting, of whatever project', async () => {
  const { clock, engine, fired, executor } = dispatching({
    // All of those that were there before are refused.
    create: async (requests) =>
      requests.map(({ schedule }) => {
        const id = Number(/\d+$/.exec(schedule)?.[0]);
        if (id <= SCHEDULES) return { refused: { ...REFUSED, code: Code.Aborted } };
        fired.add(id);
        return { answer: createdAnswer(RunOutcome.STARTED) };
      }),
    limiter: { ratePerSecond: 10, burst: 20 },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);
  for (let step = 0; step < 40; step++) await pass(clock, 500);
  for (let id = SCHEDULES + 1; id <= SCHEDULES + 10; id++)
    engine.apply({ ...onceAtOneSecond(id), project: 'q' });
  for (let step = 0; step < 10; step++) await pass(clock, 500);
  // Fifty tokens came meanwhile; half of them are for what is new.
  expect(fired.size).toBe(10);
  stop.abort();
  await running;
});

test('a project at its limit is passed over for a while, and nobody else', async () => {
  const asked: number[] = [];
  const { clock, engine, fired, executor } = dispatching({
    create: async (requests) =>
      requests.map(({ schedule }) => {
        const id = Number(/\d+$/.exec(schedule)?.[0]);
        asked.push(id);
        if (id <= SCHEDULES) return { refused: { ...REFUSED, code: Code.ResourceExhausted, project: 'p' } };
        fired.add(id);
        return { answer: createdAnswer(RunOutcome.STARTED) };
      }),
    limits: { maxBatch: 10 },
  });
  const stop = new AbortController();
  const running = executor.run(stop.signal);
  for (let step = 0; step < 100; step++) await pass(clock, 1);
  const first = asked.length;
  // What was under way when the first was refused, and nothing after that.
  expect(first).toBeLessThan(SCHEDULES);
  engine.apply({ ...onceAtOneSecond(SCHEDULES + 1), project: 'q' });
  executor.wake();
  for (let step = 0; step < 100; step++) await pass(clock, 1);
  expect([...fired]).toEqual([SCHEDULES + 1]);
  expect(asked).toHaveLength(first + 1);
  for (let step = 0; step < 60; step++) await pass(clock, 1_000);
  expect(asked.length).toBeGreaterThan(first + 1);
  stop.abort();
  await running;
});

/** Lets time pass, and what waits for it go on. */
async function pass(clock: RunningClock, ms: number): Promise<void> {
  clock.advance(ms);
  for (let turn = 0; turn < 20; turn++) await null;
}

/** What a last look finds when nothing has changed. */
const looked: ExecutorOptions['store']['lastLook'] = async (slots) =>
  slots.map(({ schedule }) => ({ ...LOOK, scheduleId: `s${schedule}` }));

/** An executor with {@link SCHEDULES} slots that fell due half a second ago. Default: each of them is live and created, and none written off. */
function dispatching({
  lastLook = looked,
  create,
  onWriteOff = fail,
  liveFromMs = 0,
  limits = {},
  limiter = { ratePerSecond: Number.POSITIVE_INFINITY, burst: 500 },
  redrives,
  quarantines = { add: fail, lift: fail },
}: {
  lastLook?: ExecutorOptions['store']['lastLook'];
  create?: ExecutorOptions['target']['create'];
  onWriteOff?: (writeOff: WriteOff) => void;
  liveFromMs?: number;
  limits?: Partial<ExecutorLimits>;
  limiter?: TokenBucketLimits;
  redrives?: ExecutorOptions['redrives'];
  quarantines?: ExecutorOptions['quarantines'];
}) {
  const clock = new RunningClock();
  const databaseClock = new DatabaseClock(clock);
  databaseClock.read(1_500);
  const engine = new Engine([], { writeOff: onWriteOff });
  for (let id = 1; id <= SCHEDULES; id++) {
    engine.apply({
      ...onceAtOneSecond(id),
      live: [{ after: liveFromMs, through: Number.POSITIVE_INFINITY }],
    });
  }
  engine.advance(1_500);
  let chance = 0;
  const fired = new Set<number>();
  const metrics = new SchedulerMetrics(new Registry(), fail);
  const executor = new Executor({
    engine,
    clock,
    databaseClock,
    metrics,
    logger: createLogger({ service: 'executor', instance: 'test', level: 'fatal' }),
    lease: {
      epoch: 1,
      lineage: 'one/00000001',
      isOtherDatabase: false,
      grantedAtMs: 0,
      firstExpireMs: 1e9,
      expireMs: EXPIRE_MS,
      trusted: true,
      signal: new AbortController().signal,
    },
    target: {
      create:
        create ??
        (async (requests) =>
          requests.map(({ schedule }) => {
            fired.add(Number(/\d+$/.exec(schedule)?.[0]));
            return { answer: createdAnswer(RunOutcome.STARTED) };
          })),
      probe: async () => fail(),
    },
    bucket: new TokenBucket(clock, limiter),
    breaker: { state: 'closed', call: (call) => call(), close: () => undefined },
    store: { lastLook },
    ledger: { add: fail },
    redrives,
    quarantines,
    nameScheme: 'carillon',
    limits: {
      maxBatch: 500,
      maxBatchBytes: 1_000_000,
      maxCalls: 4,
      maxOutstanding: 10_000,
      callTimeoutMs: 5_000,
      catchUpRunsPerSecond: 1_000,
      rampUpMs: 1,
      ...limits,
    },
    // Spread, so that some fall due between two readings of the clock.
    entropy: { fraction: () => (chance = (chance + 0.618) % 1), uuid: fail },
  });
  return { clock, databaseClock, engine, metrics, fired, executor };
}

function onceAtOneSecond(id: number) {
  return {
    id,
    uidBits: 0,
    generation: 1,
    unit: 1,
    live: [{ after: 0, through: Number.POSITIVE_INFINITY }],
    quarantined: [],
    project: 'p',
    payloadBytes: 1,
    watermark: {
      throughMs: Number.NEGATIVE_INFINITY,
      settledAbove: [],
      own: false,
      frontierMs: Number.NEGATIVE_INFINITY,
    },
    seenSpan: 0,
    unreadable: [],
    problem: undefined,
    spans: [
      {
        span: 1,
        revision: 1,
        state: 'ACTIVE' as const,
        fromMs: 0,
        toMs: Number.POSITIVE_INFINITY,
        endReason: undefined,
        settledMs: Number.NEGATIVE_INFINITY,
        timing: {
          recurrence: compileRecurrence({ pattern: { kind: 'at', at: 1 } }, 'p/d/s'),
          jitterSec: 0,
          identity: 'p/d/s',
          catchUpWindowMs: 86_400_000,
          catchUpPolicy: 'ALL' as const,
          catchUpLimit: Number.POSITIVE_INFINITY,
          overlap: undefined,
          nominalTimeInput: '',
        },
      },
    ],
  };
}

function fail(): never {
  throw new Error('this is not asked for');
}
