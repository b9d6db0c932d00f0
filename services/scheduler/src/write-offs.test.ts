import { liveRanges } from '@carillon/core/live-terms.ts';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { compileRecurrence } from '@carillon/core/recurrence.ts';
import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { DatabaseClock } from './database-clock.ts';
import { Engine } from './engine.ts';
import { Ledger } from './ledger.ts';
import { SchedulerMetrics } from './metrics.ts';
import type { Probed } from './runs-target.ts';
import { WriteOffs } from './write-offs.ts';

const UID = 'u';

/** A schedule of four slots, each second one, that was paused before any of them was settled; and what stands under their runs' names. */
async function settled(
  found: (nominalMs: number) => Probed,
  prepare: (ledger: Ledger, clock: ManualClock, databaseClock: DatabaseClock) => Promise<void> = async () =>
    undefined,
  targetKnowsNotAfter = true,
) {
  const clock = new ManualClock();
  const databaseClock = new DatabaseClock(clock);
  databaseClock.read(60_000);
  const ledger = new Ledger();
  const fired: LedgerRow[] = [];
  let resolve: () => void = () => undefined;
  const done = new Promise<void>((settle) => {
    resolve = settle;
  });
  const engine: Engine = new Engine([], { writeOff: (writeOff) => writeOffs.add(writeOff) });
  const settle = engine.settle.bind(engine);
  engine.settle = (...settled) => {
    settle(...settled);
    resolve();
  };
  const writeOffs = new WriteOffs({
    engine,
    ledger,
    firedLedger: { add: (row) => fired.push(row) },
    target: { create: async () => [], probe: async (runs) => runs.map(({ nominalMs }) => found(nominalMs)) },
    store: {
      lastLook: async (slots) =>
        slots.map(() => ({
          project: 'p',
          domain: 'd',
          scheduleId: 's',
          uid: UID,
          revision: 1,
          stop: 'PAUSED' as const,
          run: null,
          databaseNowMs: 60_000,
        })),
    },
    nameScheme: 'carillon',
    clock,
    databaseClock,
    metrics: new SchedulerMetrics(new Registry(), () => {
      throw new Error('nobody scrapes');
    }),
    logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
    feed: { currentAsOfMs: Number.POSITIVE_INFINITY, poll: async () => undefined },
    // All of them may have been sent by an earlier leader, and can no longer be created.
    sentBeforeMs: 50_000,
    earlierNotAfterMs: 50_000,
    lease: { expireMs: 70_000 },
    probeTimeoutMs: 1_000,
    targetKnowsNotAfter,
  });
  engine.apply({
    id: 1,
    uidBits: 0,
    generation: 2,
    unit: 7,
    project: 'p',
    quarantined: [],
    payloadBytes: 100,
    live: liveRanges([], 0),
    spans: [
      {
        span: 1,
        revision: 1,
        state: 'ACTIVE',
        fromMs: 0,
        toMs: 8_500,
        endReason: 'PAUSED',
        settledMs: Number.NEGATIVE_INFINITY,
        timing: {
          recurrence: compileRecurrence({ pattern: { kind: 'rate', everySeconds: 2, anchor: 0 } }, 'p/d/s'),
          jitterSec: 0,
          identity: 'p/d/s',
          catchUpWindowMs: 86_400_000,
          catchUpPolicy: 'ALL',
          catchUpLimit: Number.POSITIVE_INFINITY,
          overlap: { policy: 'SKIP', limit: 1 },
          nominalTimeInput: '',
        },
      },
    ],
    watermark: {
      throughMs: Number.NEGATIVE_INFINITY,
      settledAbove: [],
      own: false,
      frontierMs: Number.NEGATIVE_INFINITY,
    },
    seenSpan: 1,
    unreadable: [],
    problem: undefined,
  });
  const stop = new AbortController();
  const prepared = prepare(ledger, clock, databaseClock);
  const running = writeOffs.run(stop.signal);
  await prepared;
  await done;
  stop.abort();
  await running;
  return { rows: ledger.take(), fired };
}

test('what a probe finds has its outcome by its run: fired, skipped by its overlap policy, or a stranger under its name', async () => {
  const { rows, fired } = await settled((nominalMs) => {
    if (nominalMs === 2_000) return { scheduleUid: UID, nominalMs, skipped: false };
    if (nominalMs === 4_000) return { scheduleUid: UID, nominalMs, skipped: true };
    if (nominalMs === 6_000) return { scheduleUid: 'another', nominalMs, skipped: false };
    return undefined;
  });
  expect(fired).toMatchObject([{ nominalMs: 2_000, outcome: 'FIRED', reason: 'EXISTED' }]);
  expect(rows).toMatchObject([
    { nominalMs: 6_000, lastNominalMs: 8_000, slots: 2, outcome: 'SKIPPED', reason: 'PAUSED' },
    { nominalMs: 4_000, slots: 1, outcome: 'SKIPPED', reason: 'OVERLAP' },
  ]);
});

test('what lies beyond the retention of runs is settled with the others, and it is said that it cannot be told', async () => {
  const { rows, fired } = await settled((nominalMs) => {
    if (nominalMs < 6_000) return 'BEYOND_RETENTION';
    return nominalMs === 8_000 ? { scheduleUid: UID, nominalMs, skipped: false } : undefined;
  });
  expect(fired).toMatchObject([{ nominalMs: 8_000 }]);
  expect(rows).toMatchObject([
    {
      nominalMs: 2_000,
      lastNominalMs: 6_000,
      slots: 3,
      outcome: 'SKIPPED',
      reason: 'PAUSED',
      message:
        'whether 2 of 3 ran before can no longer be told, for runs are not kept as long; ' +
        'the schedule was paused before the slot was sent',
    },
  ]);
});

test('nothing more is settled while as many ledger rows wait as a flush should write', async () => {
  const row = {
    schedule: 2,
    revision: 1,
    slots: 1,
    outcome: 'MISSED',
    reason: '',
    message: '',
    runId: '',
  } as const;
  const { rows } = await settled(
    () => undefined,
    async (ledger, clock) => {
      for (let at = 0; at < 5_000; at++) {
        ledger.add({ ...row, nominalMs: at, lastNominalMs: at, fireMs: undefined, latenessMs: undefined });
      }
      for (let step = 0; step < 20; step++) {
        clock.advance(50);
        await null;
      }
      // Nothing came to them.
      expect(ledger.take()).toHaveLength(5_000);
      for (let step = 0; step < 20; step++) {
        clock.advance(50);
        await null;
      }
    },
  );
  expect(rows).toMatchObject([{ nominalMs: 2_000, lastNominalMs: 8_000, slots: 4 }]);
});

test('where the target knows no not_after, what may have been sent waits for the end of its window', async () => {
  const { rows } = await settled(
    () => undefined,
    async (ledger, clock, databaseClock) => {
      const beforeMs = 8_000 + 86_400_000 + 60_000;
      databaseClock.read(beforeMs);
      for (let step = 0; step < 20; step++) {
        clock.advance(0);
        await null;
      }
      expect(ledger.size).toBe(0);
      databaseClock.read(beforeMs + 10);
      for (let step = 0; step < 40; step++) {
        clock.advance(100);
        await null;
      }
    },
    false,
  );
  expect(rows).toMatchObject([{ nominalMs: 2_000, lastNominalMs: 8_000, slots: 4 }]);
});
