import { describe, expect, it } from 'vitest';
import { dueTime, jitterMs, MAX_JITTER_SECONDS } from './jitter.ts';
import { compileRecurrence } from './recurrence.ts';

const minutely = compileRecurrence({ pattern: { kind: 'rate', everySeconds: 60, anchor: 0 } }, 'x');

describe('jitter', () => {
  it('is a fact of identity and nominal time', () => {
    // Golden values: a change would move the due times of every schedule that has jitter.
    expect(jitterMs(minutely, 1_800_000_000, 60, 'acme/prod/report')).toBe(15_154);
    expect(jitterMs(minutely, 1_800_000_060, 60, 'acme/prod/report')).toBe(38_592);
    expect(jitterMs(minutely, 1_800_000_000, 60, 'acme/prod/other')).toBe(5_049);
    expect(jitterMs(minutely, -60, 60, 'acme/prod/report')).toBe(44_864);
    expect(jitterMs(minutely, 7_200_000_000, 60, 'acme/prod/report')).toBe(14_709);
  });

  it('stays below the jitter and below the next slot, in whole milliseconds', () => {
    for (const jitter of [0.001, 0.5, 1, 59.999, 60, 61, 3600, MAX_JITTER_SECONDS]) {
      for (let nominal = 0; nominal < 60 * 200; nominal += 60) {
        const due = dueTime(minutely, nominal, jitter, 'p/d/s');
        expect(Number.isInteger(due)).toBe(true);
        expect(due).toBeGreaterThanOrEqual(nominal * 1000);
        expect(due).toBeLessThan((nominal + Math.min(jitter, 60)) * 1000);
      }
    }
  });

  it('has no bound but its own at the last slot', () => {
    const once = compileRecurrence({ pattern: { kind: 'at', at: 1_800_000_000 } }, 'x');
    const all = Array.from({ length: 200 }, (_, i) => jitterMs(once, 1_800_000_000, 3600, `p/d/${i}`));
    expect(Math.max(...all)).toBeGreaterThan(3_000_000);
    expect(Math.max(...all)).toBeLessThan(3_600_000);
  });

  it('spreads evenly over slots and over schedules', () => {
    const spread = (jitters: number[]): number[] => {
      const buckets = new Array<number>(10).fill(0);
      for (const jitter of jitters) buckets[Math.floor(jitter / 6000)]!++;
      return buckets;
    };
    const overSlots = spread(
      Array.from({ length: 10_000 }, (_, i) => jitterMs(minutely, i * 60, 60, 'p/d/s')),
    );
    const overNames = spread(
      Array.from({ length: 10_000 }, (_, i) => jitterMs(minutely, 0, 60, `p/d/s${i}`)),
    );
    for (const count of [...overSlots, ...overNames]) {
      expect(count).toBeGreaterThan(850);
      expect(count).toBeLessThan(1150);
    }
  });

  it.each([-1, Number.NaN, MAX_JITTER_SECONDS + 1])('refuses %s s', (jitter) => {
    expect(() => dueTime(minutely, 0, jitter, 'x')).toThrow(RangeError);
  });
});
