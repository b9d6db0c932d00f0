import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_HANDLE, TimerQueue } from './timer-queue.ts';

const seed = Number(process.env.CARILLON_SEED ?? Date.now() % 2 ** 31);
console.info(`timer-queue: CARILLON_SEED=${seed}`);

function popAll(queue: TimerQueue, nowMs = Number.POSITIVE_INFINITY): number[] {
  const out = new Uint32Array(7);
  const all: number[] = [];
  for (let n = queue.popDue(nowMs, 7, out); n > 0; n = queue.popDue(nowMs, 7, out))
    all.push(...out.subarray(0, n));
  return all;
}

type Step =
  | { readonly op: 'upsert'; readonly handle: number; readonly due: number }
  | { readonly op: 'remove'; readonly handle: number }
  | { readonly op: 'pop'; readonly now: number; readonly limit: number };

const handle = fc.integer({ min: 0, max: 60 });
const due = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.double({ min: -1e12, max: 1e12, noNaN: true }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('upsert' as const), handle, due }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), handle }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('pop' as const),
      now: due,
      limit: fc.integer({ min: 0, max: 9 }),
    }),
  },
);

describe('a timer queue', () => {
  it('does what a sorted list does', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const queue = new TimerQueue(0);
        const model = new Map<number, number>();
        const sorted = (): [number, number][] => [...model].sort((a, b) => a[1] - b[1] || a[0] - b[0]);
        for (const action of steps) {
          if (action.op === 'upsert') {
            queue.upsert(action.handle, action.due);
            model.set(action.handle, action.due);
          } else if (action.op === 'remove') {
            expect(queue.remove(action.handle)).toBe(model.delete(action.handle));
          } else {
            const out = new Uint32Array(20);
            const expected = sorted()
              .filter(([, at]) => at <= action.now)
              .slice(0, action.limit);
            const count = queue.popDue(action.now, action.limit, out);
            expect([...out.subarray(0, count)]).toEqual(expected.map(([h]) => h));
            for (const [h] of expected) model.delete(h);
          }
          expect(queue.size).toBe(model.size);
          expect(queue.peekDue()).toBe(sorted()[0]?.[1] ?? Number.POSITIVE_INFINITY);
          for (let h = 0; h <= 60; h += 7) expect(queue.dueOf(h)).toBe(model.get(h));
        }
        expect(popAll(queue)).toEqual(sorted().map(([h]) => h));
      }),
      { seed, numRuns: 300 },
    );
  });

  it('breaks ties by handle, whatever the order of insertion', () => {
    const queue = new TimerQueue();
    for (const h of [5, 3, 9, 0, 7, 1]) queue.upsert(h, 1000);
    expect(popAll(queue)).toEqual([0, 1, 3, 5, 7, 9]);
  });

  it('stays in order when many leave from its middle', () => {
    const queue = new TimerQueue();
    const due = new Map<number, number>();
    let state = seed >>> 0;
    for (let h = 0; h < 20_000; h++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      due.set(h, state);
      queue.upsert(h, state);
    }
    for (let h = 0; h < 20_000; h++) {
      if (h % 4 === 0) continue;
      due.delete(h);
      queue.remove(h);
    }
    expect(popAll(queue)).toEqual([...due].sort((a, b) => a[1] - b[1]).map(([h]) => h));
  });

  it('holds back what is not due, and honours the limit and the size of the array', () => {
    const queue = new TimerQueue();
    for (let h = 0; h < 10; h++) queue.upsert(h, h * 10);
    expect(queue.popDue(49, 3, new Uint32Array(10))).toBe(3);
    expect(queue.popDue(49, 100, new Uint32Array(1))).toBe(1);
    expect(popAll(queue, 49)).toEqual([4]);
    expect(queue.peekDue()).toBe(50);
    expect(queue.popDue(1000, 0, new Uint32Array(1))).toBe(0);
  });

  it('keeps a million entries in order, in at most 64 bytes each', () => {
    const queue = new TimerQueue();
    const count = 1_000_000;
    let state = seed >>> 0;
    for (let h = 0; h < count; h++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      queue.upsert(h, state % 1_000_003);
    }
    expect(queue.byteLength / count).toBeLessThanOrEqual(64);
    const out = new Uint32Array(4096);
    let popped = 0;
    let wrong = 0;
    let [lastDue, lastHandle] = [-1, -1];
    while (queue.size > 0) {
      const now = queue.peekDue();
      const n = queue.popDue(now, out.length, out);
      for (let i = 0; i < n; i++) {
        if (now < lastDue || (now === lastDue && out[i]! <= lastHandle)) wrong++;
        [lastDue, lastHandle] = [now, out[i]!];
      }
      popped += n;
    }
    expect(popped).toBe(count);
    expect(wrong).toBe(0);
  });

  it.each([-1, 0.5, MAX_HANDLE + 1, Number.NaN])('refuses the handle %s', (bad) => {
    expect(() => new TimerQueue().upsert(bad, 0)).toThrow(RangeError);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'refuses the due time %s',
    (bad) => {
      expect(() => new TimerQueue().upsert(0, bad)).toThrow(RangeError);
    },
  );

  it('knows nothing of handles it never saw', () => {
    const queue = new TimerQueue();
    expect(queue.remove(123_456)).toBe(false);
    expect(queue.dueOf(123_456)).toBeUndefined();
    expect(queue.peekDue()).toBe(Number.POSITIVE_INFINITY);
  });
});
