import { describe, expect, test } from 'vitest';
import { systemClock, systemEntropy } from './system-clock.ts';

describe('systemClock', () => {
  test('timers fire no earlier than asked', async () => {
    for (const delayMs of [0, 1, 2, 3, 7, 15]) {
      const start = systemClock.monotonic();
      await new Promise<void>((resolve) => systemClock.after(delayMs, resolve));
      expect(systemClock.monotonic() - start).toBeGreaterThanOrEqual(delayMs);
    }
  });

  test('a cancelled timer does not fire', async () => {
    let fired = false;
    const timer = systemClock.after(1, () => {
      fired = true;
    });
    timer.cancel();
    timer.cancel();
    await new Promise<void>((resolve) => systemClock.after(20, resolve));
    expect(fired).toBe(false);
  });

  test.each([60_001, 2 ** 31, Number.POSITIVE_INFINITY, Number.NaN])(
    'a timer of %d ms is refused',
    (delayMs) => {
      expect(() => systemClock.after(delayMs, () => undefined)).toThrow(RangeError);
    },
  );

  test('now is the wall clock, monotonic never goes back', () => {
    expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1_000);
    let last = systemClock.monotonic();
    for (let i = 0; i < 1_000; i++) {
      const next = systemClock.monotonic();
      expect(next).toBeGreaterThanOrEqual(last);
      last = next;
    }
  });
});

test('systemEntropy gives fractions in [0, 1) and distinct UUIDs', () => {
  for (let i = 0; i < 1_000; i++) {
    const fraction = systemEntropy.fraction();
    expect(fraction >= 0 && fraction < 1).toBe(true);
  }
  const uuids = new Set(Array.from({ length: 1_000 }, () => systemEntropy.uuid()));
  expect(uuids.size).toBe(1_000);
  expect([...uuids][0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
