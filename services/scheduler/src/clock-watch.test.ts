import { ManualClock } from '@carillon/core/manual-clock.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { ClockWatch } from './clock-watch.ts';
import { DatabaseClock } from './database-clock.ts';
import { SchedulerMetrics } from './metrics.ts';

const BEAT_MS = 1_000;

function watchOf() {
  const clock = new ManualClock(1_000_000);
  const databaseClock = new DatabaseClock(clock);
  databaseClock.read(1_000_000);
  const registry = new Registry();
  const metrics = new SchedulerMetrics(registry, () => {
    throw new Error('nothing is scraped here');
  });
  const doubts: string[] = [];
  const watch = new ClockWatch({
    clock,
    databaseClock,
    metrics,
    logger: createLogger({ service: 'test', instance: 'test', level: 'silent' }),
    beatMs: BEAT_MS,
    onDoubt: (reason) => doubts.push(reason),
  });
  const beat = (ms = BEAT_MS): void => {
    clock.advance(ms);
    watch.check();
  };
  const count = async (metric: 'clockSteps' | 'stalls' | 'clockErrors'): Promise<number> =>
    (await metrics[metric].get()).values.reduce((sum, value) => sum + value.value, 0);
  return { clock, databaseClock, doubts, beat, count };
}

describe('the clock watch', () => {
  test('is silent while the clocks go together', async () => {
    const { doubts, beat, count } = watchOf();
    for (let i = 0; i < 100; i++) beat(BEAT_MS + (i % 7));
    expect(doubts).toEqual([]);
    expect(await count('clockSteps')).toBe(0);
    expect(await count('clockErrors')).toBe(0);
  });

  test.each([3_600_000, -3_600_000])('notices a step of the wall clock by %i ms, once', async (stepMs) => {
    const { clock, databaseClock, doubts, beat, count } = watchOf();
    beat();
    clock.stepWall(stepMs);
    beat();
    beat();
    expect(doubts).toHaveLength(1);
    expect(await count('clockSteps')).toBe(1);
    expect(await count('clockErrors')).toBe(1);
    // The database's clock is what counts, and it has not been set.
    expect(databaseClock.now()).toBeCloseTo(1_003_000, -1);
  });

  test('notices a stall', async () => {
    const { doubts, beat, count } = watchOf();
    beat(10_000);
    expect(doubts).toEqual(['the process stood still']);
    expect(await count('stalls')).toBe(1);
  });
});
