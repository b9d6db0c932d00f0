import { ManualClock } from '@carillon/core/manual-clock.ts';
import { expect, test } from 'vitest';
import { Readiness } from './readiness.ts';

test('is ready without checks', async () => {
  expect(await new Readiness(new ManualClock(), {}).evaluate()).toEqual({ ready: true, failing: [] });
});

test('lists every failing check with its reason, and recovers', async () => {
  let broken = true;
  const readiness = new Readiness(new ManualClock(), {
    good: () => undefined,
    sync: () => {
      if (broken) throw new Error('no leader');
    },
    async: async () => {
      if (broken) throw 'not an Error';
    },
  });
  expect(await readiness.evaluate()).toEqual({
    ready: false,
    failing: [
      { name: 'sync', reason: 'no leader' },
      { name: 'async', reason: 'not an Error' },
    ],
  });
  broken = false;
  expect(await readiness.evaluate()).toEqual({ ready: true, failing: [] });
});

test('a check that hangs has failed after 2 s, and is told', async () => {
  const clock = new ManualClock();
  let told = false;
  const readiness = new Readiness(clock, {
    hangs: (signal) => {
      signal.addEventListener('abort', () => {
        told = true;
      });
      return new Promise(() => undefined);
    },
  });
  const report = readiness.evaluate();
  clock.advance(2_000);
  expect(await report).toEqual({
    ready: false,
    failing: [{ name: 'hangs', reason: 'no answer within 2000 ms' }],
  });
  expect(told).toBe(true);
});

test('callers that come together share one run; timers are gone afterwards', async () => {
  const clock = new ManualClock();
  let runs = 0;
  const readiness = new Readiness(clock, {
    counted: () => {
      runs += 1;
    },
  });
  await Promise.all([readiness.evaluate(), readiness.evaluate(), readiness.evaluate()]);
  expect(runs).toBe(1);
  await readiness.evaluate();
  expect(runs).toBe(2);
  expect(clock.nextTimer()).toBe(Number.POSITIVE_INFINITY);
});

test('a drain makes it unready for good', async () => {
  const readiness = new Readiness(new ManualClock(), {});
  readiness.drain();
  expect(readiness.draining.aborted).toBe(true);
  expect(await readiness.evaluate()).toEqual({
    ready: false,
    failing: [{ name: 'draining', reason: 'the server is shutting down' }],
  });
});
