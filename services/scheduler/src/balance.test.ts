import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { giverOf, type ReplicaLoad, shareOf } from './balance.ts';

const replica = (instance: string, leads: number, changes: Partial<ReplicaLoad> = {}): ReplicaLoad => ({
  instance,
  leads,
  isReady: true,
  takesPart: true,
  ...changes,
});

describe('the share of a replica', () => {
  test('is an even part of the shards, rounded up', () => {
    const replicas = [replica('a', 0), replica('b', 4), replica('c', 0)];
    expect(shareOf('a', 4, replicas)).toBe(2);
    expect(shareOf('a', 3, replicas)).toBe(1);
    expect(shareOf('a', 1, replicas)).toBe(1);
  });

  test('is everything for one that sees nobody yet', () => {
    expect(shareOf('a', 4, [])).toBe(4);
  });

  test('is nothing for one that has handed over, unless all have', () => {
    const blue = replica('blue', 0, { takesPart: false });
    expect(shareOf('blue', 4, [blue, replica('green', 4)])).toBe(0);
    expect(shareOf('green', 4, [blue, replica('green', 4)])).toBe(4);
    expect(shareOf('blue', 4, [blue, replica('green', 4, { takesPart: false })])).toBe(2);
  });
});

describe('who hands a shard over', () => {
  test('is the one that leads the most, the first by name', () => {
    expect(giverOf([replica('c', 3), replica('b', 3), replica('a', 0)])).toBe('b');
    expect(giverOf([replica('a', 2), replica('b', 3), replica('c', 0)])).toBe('b');
  });

  test('is nobody while a move would even nothing out', () => {
    expect(giverOf([replica('a', 2), replica('b', 1)])).toBeUndefined();
    expect(giverOf([replica('a', 4)])).toBeUndefined();
    expect(giverOf([])).toBeUndefined();
  });

  test('is nobody while those that lead less are not ready', () => {
    expect(giverOf([replica('a', 4), replica('b', 0, { isReady: false })])).toBeUndefined();
  });

  test('is first one that takes no part, and leads what nobody took at the time', () => {
    const blue = replica('blue', 1, { takesPart: false });
    expect(giverOf([blue, replica('green', 3), replica('grey', 0)])).toBe('blue');
    expect(giverOf([blue, replica('green', 3, { isReady: false })])).toBeUndefined();
  });

  test('ends with nobody leading more than his share, by as few moves as possible', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(10), { minLength: 1, maxLength: 6 }), (loads) => {
        const shards = loads.reduce((sum, leads) => sum + leads, 0);
        let replicas = loads.map((leads, index) => replica(`r${index}`, leads));
        const share = shareOf('r0', shards, replicas);
        const floor = Math.floor(shards / loads.length);
        const surplus = loads.reduce((sum, leads) => sum + Math.max(0, leads - share), 0);
        const lack = loads.reduce((sum, leads) => sum + Math.max(0, floor - leads), 0);
        let moves = 0;
        for (let giver = giverOf(replicas); giver !== undefined; giver = giverOf(replicas)) {
          moves++;
          const least = Math.min(...replicas.map(({ leads }) => leads));
          const taker = replicas.find(({ leads }) => leads === least)!.instance;
          replicas = replicas.map((each) => ({
            ...each,
            leads: each.leads + Number(each.instance === taker) - Number(each.instance === giver),
          }));
        }
        expect(Math.max(...replicas.map(({ leads }) => leads))).toBeLessThanOrEqual(share);
        expect(moves).toBe(Math.max(surplus, lack));
      }),
    );
  });
});
