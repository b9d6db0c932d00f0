import { create, toBinary } from '@bufbuild/protobuf';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { SqlState } from '@carillon/db';
import type { Redrive, SettledRedrive } from '@carillon/db/tables/slot-redrives.ts';
import { CronSchema, ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { DatabaseClock } from './database-clock.ts';
import { SchedulerMetrics } from './metrics.ts';
import { Redrives } from './redrives.ts';
import type { SettledSlotsStore } from './settled-slots-store.ts';
import { TimingCache } from './timing-cache.ts';

const GRANTED_MS = 1_000_000;
const FIRST_EXPIRE_MS = GRANTED_MS + 10_000;
const TIMING = Buffer.from(
  toBinary(
    ScheduleSpecSchema,
    create(ScheduleSpecSchema, {
      pattern: { case: 'cron', value: create(CronSchema, { expression: '* * * * *' }) },
    }),
  ),
);
const DEAD = { outcome: 'DEAD', reason: 'NOT_FOUND', message: 'no task' } as const;

function redriveOf(schedule: number, changes: Partial<Redrive> = {}): Redrive {
  return {
    schedule,
    nominalMs: 60_000,
    revision: 1,
    requestMs: GRANTED_MS + 1,
    project: 'p',
    domain: 'd',
    scheduleId: `s${schedule}`,
    anchorMs: null,
    timing: TIMING,
    payloadBytes: 100,
    ...changes,
  };
}

/** In turn between schedules. */
function inTurn(requests: readonly Redrive[]): Redrive[] {
  const turns = new Map<number, number>();
  const withTurns = requests.map((request) => {
    const turn = (turns.get(request.schedule) ?? 0) + 1;
    turns.set(request.schedule, turn);
    return { request, turn };
  });
  return withTurns.sort((a, b) => a.turn - b.turn).map(({ request }) => request);
}

function setUp(requests: Redrive[]) {
  const clock = new ManualClock();
  const databaseClock = new DatabaseClock(clock);
  databaseClock.read(GRANTED_MS + 100);
  const settled: SettledRedrive[] = [];
  const state = {
    held: true,
    failure: undefined as Error | undefined,
    refused: 0,
    runs: false,
    skipped: false,
    beyondRetention: false,
    /** A nominal time of which the runs service cannot be asked. */
    unaskable: undefined as number | undefined,
    rings: 0,
  };
  const settledSlots: SettledSlotsStore = {
    readRedriveKeys: async (limit) => inTurn(requests).slice(0, limit),
    readRedrives: async (keys) =>
      requests.filter((request) =>
        keys.some((key) => key.schedule === request.schedule && key.nominalMs === request.nominalMs),
      ),
    settleRedrives: async (_, rows) => {
      if (state.failure !== undefined) throw state.failure;
      if (rows.some(({ schedule }) => schedule === state.refused))
        throw Object.assign(new Error('refused'), { severity: 'ERROR', code: SqlState.checkViolation });
      if (!state.held) return false;
      settled.push(...rows);
      for (const { schedule } of rows) {
        requests.splice(
          requests.findIndex((request) => request.schedule === schedule),
          1,
        );
      }
      return true;
    },
    readEndedPauses: async () => [],
  };
  const redrives = new Redrives({
    settledSlots,
    lease: {
      epoch: 3,
      lineage: 'one/00000001',
      isOtherDatabase: false,
      grantedAtMs: GRANTED_MS,
      firstExpireMs: FIRST_EXPIRE_MS,
      expireMs: FIRST_EXPIRE_MS,
      trusted: true,
      signal: new AbortController().signal,
    },
    timings: new TimingCache(),
    databaseClock,
    metrics: new SchedulerMetrics(new Registry(), () => {
      throw new Error('nobody scrapes');
    }),
    logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
    onReady: () => {
      state.rings++;
    },
    store: {
      lastLook: async (slots) =>
        slots.map(() => ({
          project: 'p',
          domain: 'd',
          scheduleId: 's',
          uid: 'u',
          revision: 1,
          stop: null,
          run: null,
          databaseNowMs: 0,
        })),
    },
    target: {
      probe: async (runs) => {
        if (runs.some(({ nominalMs }) => nominalMs === state.unaskable)) throw new Error('cannot be asked');
        if (state.beyondRetention) return runs.map(() => 'BEYOND_RETENTION');
        return runs.map(({ nominalMs }) =>
          state.runs ? { scheduleUid: 'u', nominalMs, skipped: state.skipped } : undefined,
        );
      },
    },
    nameScheme: 'carillon',
    probeTimeoutMs: 1_000,
  });
  return { redrives, settled, state, clock };
}

test('each is taken once, in turn between projects, within the limits', async () => {
  const { redrives, state } = setUp([
    redriveOf(1),
    redriveOf(2),
    redriveOf(3, { project: 'q' }),
    redriveOf(4, { payloadBytes: 1_000 }),
  ]);
  await redrives.poll();
  await redrives.poll();
  expect(redrives.readySize).toBe(4);
  expect(state.rings).toBe(1);
  expect(redrives.take(2, 1_000).map(({ id }) => id)).toEqual([1, 3]);
  expect(redrives.take(9, 1_050).map(({ id }) => id)).toEqual([2]);
  expect(redrives.take(9, 1_000).map(({ id }) => id)).toEqual([4]);
  await redrives.poll();
  expect(redrives.take(9, 1_000)).toEqual([]);
});

test('what came of one is written down once, also when a write fails at first', async () => {
  const { redrives, settled, state } = setUp([redriveOf(1), redriveOf(2)]);
  await redrives.poll();
  const [fired, dead] = redrives.take(2, 1_000);
  fired!.firedAtMs = GRANTED_MS + 50;
  redrives.fired(fired!, 'rabc', true);
  redrives.dead(dead!, DEAD);
  expect(redrives.holds(fired!)).toBe(false);
  state.failure = new Error('the database is away');
  await expect(redrives.poll()).rejects.toThrow('the database is away');
  state.failure = undefined;
  await redrives.poll();
  expect(settled).toMatchObject([
    {
      schedule: 1,
      outcome: 'FIRED',
      reason: 'REDRIVEN',
      runId: 'rabc',
      fireMs: GRANTED_MS + 50,
      latenessMs: GRANTED_MS + 50 - 60_000,
    },
    { schedule: 2, outcome: 'DEAD', reason: 'NOT_FOUND', message: 'no task', runId: '', fireMs: undefined },
  ]);
  expect(redrives.size).toBe(0);
});

test('a leader whose epoch is refused writes nothing, and sends nothing twice', async () => {
  const { redrives, settled, state } = setUp([redriveOf(1)]);
  await redrives.poll();
  const [slot] = redrives.take(1, 1_000);
  redrives.fired(slot!, 'rabc', true);
  state.held = false;
  await redrives.poll();
  expect(settled).toEqual([]);
  expect(redrives.readySize).toBe(0);
});

test.each([
  ['a run', { runs: true, skipped: false }, { outcome: 'FIRED', reason: 'REDRIVEN' }],
  ['a run that was skipped', { runs: true, skipped: true }, { outcome: 'DEAD', reason: 'OVERLAP' }],
  ['no run', { runs: false }, { outcome: 'DEAD', reason: 'NOT_FOUND', message: 'no task' }],
  [
    'what cannot be told any more',
    { beyondRetention: true },
    {
      outcome: 'DEAD',
      reason: 'NOT_FOUND',
      message: 'whether it ran before can no longer be told, for runs are not kept as long; no task',
    },
  ],
] as const)(
  'what an earlier leader may have sent is dead only when nothing can create it (%s)',
  async (_, found, expected) => {
    const { redrives, settled, state, clock } = setUp([redriveOf(1, { requestMs: GRANTED_MS - 1 })]);
    Object.assign(state, found);
    await redrives.poll();
    const [slot] = redrives.take(1, 1_000);
    redrives.dead(slot!, DEAD);
    await redrives.poll();
    expect(settled).toEqual([]);
    clock.advance(FIRST_EXPIRE_MS - GRANTED_MS);
    await redrives.poll();
    expect(settled).toMatchObject([{ ...expected, fireMs: undefined }]);
  },
);

test('one whose row the database refuses keeps no other from being written down, and is not sent again', async () => {
  const { redrives, settled, state } = setUp([1, 2, 3, 4, 5].map((schedule) => redriveOf(schedule)));
  state.refused = 4;
  await redrives.poll();
  for (const slot of redrives.take(5, 1_000)) redrives.fired(slot, 'rabc', true);
  await redrives.poll();
  expect(settled.map(({ schedule }) => schedule)).toEqual([1, 2, 3, 5]);
  await redrives.poll();
  expect(redrives.readySize).toBe(0);
  expect(redrives.size).toBe(1);
  expect(settled).toHaveLength(4);
});

test('one whose run cannot be looked for keeps no other from being settled', async () => {
  const old = { requestMs: GRANTED_MS - 1 };
  const { redrives, settled, state, clock } = setUp([
    redriveOf(1, { ...old, nominalMs: 60_000 }),
    redriveOf(2, { ...old, nominalMs: 120_000 }),
    redriveOf(3, { ...old, nominalMs: 180_000 }),
  ]);
  state.unaskable = 60_000;
  await redrives.poll();
  for (const slot of redrives.take(3, 1_000)) redrives.dead(slot, DEAD);
  clock.advance(FIRST_EXPIRE_MS - GRANTED_MS);
  for (let poll = 1; poll <= 4; poll++) await redrives.poll();
  expect(settled.map(({ schedule }) => schedule).sort()).toEqual([2, 3]);
  state.unaskable = undefined;
  await redrives.poll();
  expect(settled.map(({ schedule }) => schedule).sort()).toEqual([1, 2, 3]);
});

test('however many of a schedule never succeed, those of others have their turn', async () => {
  const many = Array.from({ length: 1_200 }, (_, index) => redriveOf(1, { nominalMs: 60_000 * (index + 1) }));
  const requests = [...many];
  const { redrives, settled } = setUp(requests);
  await redrives.poll();
  expect(redrives.size).toBe(1_000);
  const stuck = redrives.take(2_000, 1_000_000);
  // They fail, but nobody else waits.
  expect(stuck.filter((slot) => redrives.yields(slot))).toEqual([]);

  requests.push(redriveOf(2), redriveOf(2, { nominalMs: 120_000 }));
  await redrives.poll();
  expect(redrives.readySize).toBe(0);
  for (const slot of stuck) slot.notAfterMs = FIRST_EXPIRE_MS + 1;
  const yielded = stuck.filter((slot) => redrives.yields(slot));
  expect(yielded).toHaveLength(2);
  for (const slot of yielded) expect(redrives.holds(slot)).toBe(false);

  await redrives.poll();
  const others = redrives.take(2_000, 1_000_000);
  expect(others.map(({ id }) => id)).toEqual([2, 2]);
  expect(redrives.size).toBe(1_000);
  for (const slot of others) {
    expect(redrives.yields(slot)).toBe(false);
    redrives.fired(slot, 'rabc', true);
  }
  await redrives.poll();
  expect(settled.map(({ schedule }) => schedule)).toEqual([2, 2]);

  // What gave its place away is taken up again, and may have been sent.
  await redrives.poll();
  const again = redrives.take(2_000, 1_000_000);
  expect(again.map(({ id, nominalSec, notAfterMs }) => [id, nominalSec, notAfterMs])).toEqual(
    yielded.map(({ nominalSec }) => [1, nominalSec, FIRST_EXPIRE_MS + 1]),
  );
});

test('one that cannot be planned stays dead, and says why', async () => {
  const { redrives, settled } = setUp([redriveOf(1, { timing: Buffer.from('no spec') }), redriveOf(2)]);
  await redrives.poll();
  expect(redrives.take(2, 1_000).map(({ id }) => id)).toEqual([2]);
  expect(settled).toMatchObject([{ schedule: 1, outcome: 'DEAD', reason: 'UNUSABLE_SPEC' }]);
});

test('one whose run its overlap policy does not let execute stays dead', async () => {
  const { redrives, settled } = setUp([redriveOf(1, { requestMs: GRANTED_MS - 1 })]);
  await redrives.poll();
  const [slot] = redrives.take(1, 1_000);
  redrives.overlapped(slot!);
  await redrives.poll();
  expect(settled).toMatchObject([{ outcome: 'DEAD', reason: 'OVERLAP' }]);
});
