import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fairShares } from './fair-shares.ts';

test.each([
  [[5, 5, 5], 6, [2, 2, 2]],
  [[5, 5, 5], 8, [3, 3, 2]],
  [[1_200, 2], 1_000, [998, 2]],
  [[3, 0, 9], 100, [3, 0, 9]],
  [[4, 1, 9], 10, [4, 1, 5]],
  [[1, 1, 1], 2, [1, 1, 0]],
  [[], 5, []],
])('%j share %d as %j', (demands, total, expected) => {
  expect(fairShares(demands, total)).toEqual(expected);
});

test('nothing is left while somebody demands more, and nobody has less than another who could give', () => {
  const demand = fc.array(fc.nat(50), { maxLength: 12 });
  fc.assert(
    fc.property(demand, fc.nat(200), (demands, total) => {
      const shares = fairShares(demands, total);
      const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
      expect(sum(shares)).toBe(Math.min(total, sum(demands)));
      const most = Math.max(0, ...shares);
      shares.forEach((share, index) => {
        expect(share).toBeLessThanOrEqual(demands[index]!);
        if (share < demands[index]!) expect(share).toBeGreaterThanOrEqual(most - 1);
      });
    }),
  );
});
