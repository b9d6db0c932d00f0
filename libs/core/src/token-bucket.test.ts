import { describe, expect, test } from 'vitest';
import { ManualClock } from './manual-clock.ts';
import { TokenBucket } from './token-bucket.ts';

/** Lets promise reactions run. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

function bucketOf(ratePerSecond: number, burst: number) {
  const clock = new ManualClock();
  const bucket = new TokenBucket(clock, { ratePerSecond, burst });
  const served: string[] = [];
  const ask = (name: string, tokens: number, signal?: AbortSignal) =>
    bucket.wait(tokens, signal).then(
      () => served.push(name),
      () => served.push(`${name} left`),
    );
  const advance = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await settle();
  };
  return { clock, bucket, served, ask, advance };
}

describe('the token bucket', () => {
  test('whose turn it is takes what is there, and no more, although others wait', async () => {
    const { bucket, served, ask, advance } = bucketOf(10, 20);
    await bucket.wait(15);
    void ask('many', 10);
    expect(bucket.takeUpTo(3)).toBe(3);
    expect(bucket.takeUpTo(100)).toBe(2);
    expect(bucket.takeUpTo(1)).toBe(0);
    await advance(999);
    expect(served).toEqual([]);
    await advance(1);
    expect(served).toEqual(['many']);
  });

  test('starts full, then grants at its rate, first in first out', async () => {
    const { served, ask, advance } = bucketOf(10, 20);
    void ask('burst', 20);
    void ask('one', 1);
    void ask('three', 3);
    void ask('late', 1);
    await advance(0);
    expect(served).toEqual(['burst']);
    await advance(99);
    expect(served).toEqual(['burst']);
    await advance(1);
    expect(served).toEqual(['burst', 'one']);
    await advance(299);
    expect(served).toEqual(['burst', 'one']);
    await advance(1);
    expect(served).toEqual(['burst', 'one', 'three']);
    await advance(100);
    expect(served).toEqual(['burst', 'one', 'three', 'late']);
  });

  test('never grants more than burst + rate x time', async () => {
    const { clock, bucket } = bucketOf(100, 5);
    let granted = 0;
    const loop = (async () => {
      while (clock.monotonic() < 1_000) {
        await bucket.wait(1);
        granted++;
      }
    })();
    while (clock.monotonic() < 1_000) {
      clock.advance(3);
      await settle();
    }
    clock.advance(1_000);
    await loop;
    expect(granted).toBeGreaterThanOrEqual(100);
    expect(granted).toBeLessThanOrEqual(5 + 100 + 2);
  });

  test('an abort leaves the queue at once, and lets the next one through', async () => {
    const { bucket, served, ask, advance } = bucketOf(1, 10);
    await bucket.wait(10);
    const abort = new AbortController();
    void ask('greedy', 10, abort.signal);
    void ask('modest', 1);
    await advance(2_000);
    expect(served).toEqual([]);
    abort.abort(new Error('enough'));
    await settle();
    expect(served).toEqual(['greedy left', 'modest']);
    await expect(bucket.wait(1, abort.signal)).rejects.toThrow('enough');
  });

  test('more than the burst is a RangeError, also when the burst shrinks meanwhile', async () => {
    const { bucket } = bucketOf(1, 10);
    await expect(bucket.wait(11)).rejects.toThrow(RangeError);
    await bucket.wait(10);
    const waiting = bucket.wait(8);
    bucket.setLimits({ ratePerSecond: 1, burst: 5 });
    await expect(waiting).rejects.toThrow(RangeError);
  });

  test('rate and burst change while it runs', async () => {
    const { bucket, served, ask, advance } = bucketOf(1, 1);
    await bucket.wait(1);
    void ask('waiting', 1);
    await advance(100);
    bucket.setLimits({ ratePerSecond: 1_000, burst: 10 });
    await advance(1);
    expect(served).toEqual(['waiting']);
    bucket.setLimits({ ratePerSecond: Number.POSITIVE_INFINITY, burst: 10 });
    expect(bucket.tryTake(10)).toBe(true);
    expect(bucket.tryTake(10)).toBe(true);
  });

  test('a rate of 0 grants what is there, and then nothing until it changes', async () => {
    const { bucket, served, ask, advance } = bucketOf(0, 1);
    await bucket.wait(1);
    void ask('waiting', 1);
    await advance(60_000);
    expect(served).toEqual([]);
    bucket.setLimits({ ratePerSecond: 10, burst: 1 });
    await advance(100);
    expect(served).toEqual(['waiting']);
  });

  test('refunds serve those who wait', async () => {
    const { bucket, served, ask } = bucketOf(0, 5);
    await bucket.wait(5);
    void ask('waiting', 2);
    bucket.refund(2);
    await settle();
    expect(served).toEqual(['waiting']);
    expect(bucket.tryTake(1)).toBe(false);
  });

  test('nobody overtakes those who wait', () => {
    const { bucket } = bucketOf(1, 5);
    void bucket.wait(5);
    void bucket.wait(5);
    expect(bucket.tryTake(1)).toBe(false);
  });
});
