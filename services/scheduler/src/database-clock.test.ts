import { ManualClock } from '@carillon/core/manual-clock.ts';
import { describe, expect, test } from 'vitest';
import { DatabaseClock } from './database-clock.ts';

function clocks() {
  const clock = new ManualClock(1_000_000);
  const databaseClock = new DatabaseClock(clock);
  databaseClock.read(1_000_000);
  return { clock, databaseClock };
}

describe("the database's clock", () => {
  test("goes on from its last reading, a little slower than this machine's", () => {
    const { clock, databaseClock } = clocks();
    clock.advance(2_000);
    expect(databaseClock.now()).toBe(1_001_999);
  });

  test('is not set back by an answer that took long', () => {
    const { clock, databaseClock } = clocks();
    clock.advance(2_000);
    databaseClock.read(1_001_900, 1_850);
    expect(databaseClock.now()).toBe(1_001_999);
    databaseClock.read(1_002_300, 1_850);
    expect(databaseClock.now()).toBe(1_002_300);
  });

  test("is set back by a step of the database's, large or small", () => {
    const { clock, databaseClock } = clocks();
    clock.advance(2_000);
    databaseClock.read(1_001_900, 1_950);
    expect(databaseClock.now()).toBe(1_001_900);
    databaseClock.read(900_000, 1_990);
    expect(databaseClock.now()).toBe(900_000);
  });

  test("is never ahead of the database's, however long this machine's runs 100 ppm fast", () => {
    const { clock, databaseClock } = clocks();
    for (let trueMs = 3_000; trueMs < 3_600_000; trueMs += 3_000) {
      const monotonicMs = trueMs * 1.0001;
      clock.advance(monotonicMs - clock.monotonic());
      expect(databaseClock.now()).toBeLessThanOrEqual(1_000_000 + trueMs);
      // An answer that took 2 ms, 1 of them on the way back.
      databaseClock.read(1_000_000 + trueMs - 1, monotonicMs - 2);
    }
  });
});
