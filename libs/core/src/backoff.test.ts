import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoffMs } from './backoff.ts';

const backoff = { initialMs: 1_000, maxMs: 60_000 };

test('the ceiling doubles up to the maximum', () => {
  const almostOne = 1 - Number.EPSILON;
  expect([1, 2, 3, 6, 7, 100].map((failures) => Math.round(backoffMs(backoff, failures, almostOne)))).toEqual(
    [1_000, 2_000, 4_000, 32_000, 60_000, 60_000],
  );
});

test('full jitter: the fraction scales from nothing', () => {
  expect(backoffMs(backoff, 3, 0)).toBe(0);
  expect(backoffMs(backoff, 3, 0.25)).toBe(1_000);
});

test('stays within bounds however often it failed, without overflow', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 31 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, fraction) => {
        const delay = backoffMs(backoff, failures, fraction);
        return delay >= 0 && delay <= backoff.maxMs;
      },
    ),
  );
});

test('there is no back-off before a failure', () => {
  expect(() => backoffMs(backoff, 0, 0.5)).toThrow(RangeError);
});
