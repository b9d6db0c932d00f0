import { describe, expect, it } from 'vitest';
import { fnv1a32 } from './fnv.ts';
import { HASH_SLOTS, hashSlot } from './hash-slot.ts';

describe('hash slots', () => {
  it('rest on FNV-1a as published', () => {
    expect([fnv1a32(''), fnv1a32('a'), fnv1a32('foobar')]).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968]);
  });

  it('never change, for they are stored', () => {
    const slot = (scheduleId: string): number =>
      hashSlot({ project: 'flytesnacks', domain: 'development', scheduleId });
    expect(['nightly', 'hourly', 'a', 'b'].map(slot)).toEqual([998, 47, 788, 1003]);
  });

  it('spread names evenly', () => {
    const counts = new Array<number>(HASH_SLOTS).fill(0);
    const names = 200_000;
    for (let index = 0; index < names; index++) {
      const slot = hashSlot({ project: 'p', domain: 'd', scheduleId: `s-${index}` });
      counts[slot] = counts[slot]! + 1;
    }
    const expected = names / HASH_SLOTS;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 1023 degrees of freedom: mean 1023, standard deviation 45.
    expect(chiSquare).toBeGreaterThan(1023 - 5 * 45);
    expect(chiSquare).toBeLessThan(1023 + 5 * 45);
  });
});
