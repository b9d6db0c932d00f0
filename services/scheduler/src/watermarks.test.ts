import { ManualClock } from '@carillon/core/manual-clock.ts';
import type { Flush, FlushResult } from '@carillon/db/tables/scheduler-watermarks.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { DatabaseClock } from './database-clock.ts';
import { engineAt, record, span, timing } from './engine-under-test.ts';
import { Ledger } from './ledger.ts';
import { SchedulerMetrics } from './metrics.ts';
import { Refusals } from './refusals.ts';
import { Watermarks } from './watermarks.ts';

const NOW_MS = 1_000;
const TIMING = timing(1);

/** Schedules of one slot that is due each; and how they are written down. */
function overloaded(schedules: number, answers: (flush: Flush) => FlushResult = () => 'WRITTEN') {
  const clock = new ManualClock();
  const databaseClock = new DatabaseClock(clock);
  databaseClock.read(NOW_MS);
  const { engine, take } = engineAt();
  const spans = [span({ timing: TIMING })];
  for (let id = 1; id <= schedules; id++) engine.apply(record({ id, unit: id % 1024, spans }));
  const flushes: Flush[] = [];
  const ledger = new Ledger();
  const metrics = new SchedulerMetrics(new Registry(), () => {
    throw new Error('nobody scrapes');
  });
  const logger = createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' });
  const unused = (): never => {
    throw new Error('nothing is refused');
  };
  const store = {
    flush: async (flush: Flush) => {
      const result = answers(flush);
      if (result === 'WRITTEN') flushes.push(flush);
      return result;
    },
    findRefusedRows: unused,
    writeQuarantines: unused,
    liftQuarantines: unused,
    liftOtherQuarantines: unused,
  };
  const calls = { readAgain: 0, unproven: 0 };
  const watermarks = new Watermarks({
    store,
    engine,
    ledger,
    refusals: new Refusals({
      store,
      engine,
      ledger,
      quarantines: { add: unused, write: async () => undefined },
      metrics,
      logger,
    }),
    clock,
    databaseClock,
    metrics,
    logger,
    shard: 'default',
    owner: 'test',
    epoch: 1,
    lineage: 'one/00000001',
    strategy: 'hash',
    format: 1,
    advance: () => void engine.advance(NOW_MS),
    feedPosition: () => ({ snapshot: '1:1:', server: { lineage: 'one/00000001', session: '1' } }),
    onFlushed: () => undefined,
    onFenced: unused,
    onUnproven: () => calls.unproven++,
    readAgain: async () => void calls.readAgain++,
  });
  return { engine, take, watermarks, flushes, clock, calls };
}

test('a release writes all that is settled, in as many flushes as that takes, and the next leader sends nothing again', async () => {
  const { engine, take, watermarks, flushes } = overloaded(12_000);
  take(0, NOW_MS);
  const slots = engine.take(12_000, 0, 1e9, NOW_MS);
  const settled = new Set<number>();
  // Every other one has its answer, and some are not even sent.
  for (const slot of slots.slice(0, 11_000)) {
    if (slot.id % 2 === 1) continue;
    engine.settle(slot);
    settled.add(slot.id);
  }
  await watermarks.writeOut(1_000);

  expect(flushes.length).toBe(2);
  const own = new Map(flushes.flatMap(({ laggards }) => laggards.map((row) => [row.schedule, row])));
  const frontiers = new Map(
    flushes.flatMap(({ units, throughMs }) => units.map((unit, index) => [unit, throughMs[index]!])),
  );
  const next = engineAt();
  for (let id = 1; id <= 12_000; id++) {
    const row = own.get(id);
    const throughMs = frontiers.get(id % 1024) ?? Number.NEGATIVE_INFINITY;
    next.engine.apply(
      record({
        id,
        unit: id % 1024,
        spans: [span({ timing: TIMING })],
        seenSpan: 1,
        watermark: row ? { ...row, own: true } : { throughMs, settledAbove: [], own: false },
      }),
    );
  }
  next.take(0, NOW_MS);
  const again = next.engine.take(12_000, 0, 1e9, NOW_MS);
  expect(again.filter(({ id }) => settled.has(id)).length).toBe(0);
  expect(again.length).toBe(12_000 - settled.size);
});

test('a release ends its flushes when its time is over', async () => {
  const { clock, take, watermarks, flushes } = overloaded(20_000, () => {
    clock.advance(600);
    return 'WRITTEN';
  });
  take(0, NOW_MS);
  await watermarks.writeOut(1_000);
  expect(flushes).toHaveLength(2);
});

test('a release reads the feed again when a flush rests on what may not have survived', async () => {
  let results: FlushResult[] = ['UNPROVEN', 'WRITTEN'];
  const { take, engine, watermarks, flushes, calls } = overloaded(3, () => {
    const [result = 'WRITTEN', ...rest] = results;
    results = rest;
    return result;
  });
  for (const slot of take(3, NOW_MS)) engine.settle(slot);
  await watermarks.writeOut(1_000);
  expect(calls).toEqual({ readAgain: 1, unproven: 1 });
  expect(flushes).toHaveLength(1);
});

test('a release whose flush fails leaves it at that', async () => {
  const { take, watermarks, flushes } = overloaded(3, () => {
    throw new Error('the database is away');
  });
  take(3, NOW_MS);
  await watermarks.writeOut(1_000);
  expect(flushes).toHaveLength(0);
});
