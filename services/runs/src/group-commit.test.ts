import { DomainError } from '@carillon/core/domain-error.ts';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { beforeEach, expect, test } from 'vitest';
import { GroupCommit } from './group-commit.ts';

/** Flushes that end when the test says so. */
class Flushes {
  readonly groups: number[][] = [];
  readonly #pending: { resolve: () => void; reject: (reason: unknown) => void }[] = [];

  readonly flush = async (items: readonly number[]): Promise<number[]> => {
    this.groups.push([...items]);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#pending.push({ resolve, reject });
    await promise;
    return items.map((item) => item * 10);
  };

  end(): void {
    this.#pending.shift()?.resolve();
  }

  fail(reason: unknown): void {
    this.#pending.shift()?.reject(reason);
  }
}

let clock: ManualClock;
beforeEach(() => {
  clock = new ManualClock();
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a lone call starts at once; what comes meanwhile goes together', async () => {
  const flushes = new Flushes();
  const group = new GroupCommit({
    flush: flushes.flush,
    maxItems: 3,
    maxFlushes: 1,
    patienceMs: 25,
    maxWaiting: 100,
    clock,
  });
  const first = group.submit(1);
  await turn();
  const rest = [2, 3, 4, 5, 6].map((item) => group.submit(item));
  await turn();
  expect(flushes.groups).toEqual([[1]]);
  flushes.end();
  expect(await first).toBe(10);
  await turn();
  expect(flushes.groups).toEqual([[1], [2, 3, 4]]);
  flushes.end();
  await turn();
  flushes.end();
  expect(await Promise.all(rest)).toEqual([20, 30, 40, 50, 60]);
  expect(flushes.groups).toEqual([[1], [2, 3, 4], [5, 6]]);
});

test('a flush that takes long does not hold up the next ones, of which so many may be under way', async () => {
  const flushes = new Flushes();
  const group = new GroupCommit({
    flush: flushes.flush,
    maxItems: 3,
    maxFlushes: 2,
    patienceMs: 25,
    maxWaiting: 100,
    clock,
  });
  const calls = [1, 2].map((item) => group.submit(item));
  await turn();
  calls.push(...[3, 4].map((item) => group.submit(item)));
  await turn();
  clock.advance(24);
  expect(flushes.groups).toEqual([[1, 2]]);
  clock.advance(1);
  expect(flushes.groups).toEqual([
    [1, 2],
    [3, 4],
  ]);
  calls.push(group.submit(5));
  await turn();
  clock.advance(1_000);
  expect(flushes.groups).toHaveLength(2);
  flushes.end();
  flushes.end();
  await turn();
  flushes.end();
  expect(await Promise.all(calls)).toEqual([10, 20, 30, 40, 50]);
});

test('a flush that fails fails its own items, and the next ones go on', async () => {
  const flushes = new Flushes();
  const group = new GroupCommit({
    flush: flushes.flush,
    maxItems: 3,
    maxFlushes: 1,
    patienceMs: 25,
    maxWaiting: 100,
    clock,
  });
  const lost = group.submit(1);
  await turn();
  const kept = group.submit(2);
  flushes.fail(new Error('the database is gone'));
  await expect(lost).rejects.toThrow('the database is gone');
  await turn();
  flushes.end();
  expect(await kept).toBe(20);
});

test('refuses when too many wait', async () => {
  const flushes = new Flushes();
  const group = new GroupCommit({
    flush: flushes.flush,
    maxItems: 1,
    maxFlushes: 1,
    patienceMs: 25,
    maxWaiting: 2,
    clock,
  });
  const calls = [group.submit(1)];
  await turn();
  calls.push(group.submit(2), group.submit(3));
  const refused = await group.submit(4).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(DomainError);
  expect((refused as DomainError).kind).toBe('RESOURCE_EXHAUSTED');
  for (const _ of calls) {
    flushes.end();
    await turn();
  }
  expect(await Promise.all(calls)).toEqual([10, 20, 30]);
});
