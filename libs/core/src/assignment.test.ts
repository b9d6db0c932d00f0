import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Assignment,
  couldShareUnits,
  hashAssignment,
  isEverything,
  MOST_SHARDS,
  namedAssignment,
  olderLeases,
  type SchedulePlace,
  sameShards,
  scopeOf,
  shardOf,
  unitOf,
} from './assignment.ts';
import { HASH_SLOTS } from './hash-slot.ts';

const ids = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const places = fc.record({
  hashSlot: fc.integer({ min: 0, max: HASH_SLOTS - 1 }),
  project: ids,
  domain: ids,
});

const named = fc
  .record({
    strategy: fc.constantFrom('project' as const, 'domain' as const),
    ids: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 4 }),
    shards: fc.integer({ min: 1, max: 3 }),
  })
  .map(({ strategy, ids: chosen, shards }) => {
    const lists: string[][] = Array.from({ length: shards }, () => []);
    chosen.forEach((id, index) => void lists[index % shards]!.push(id));
    return namedAssignment(1, strategy, [...lists.filter((list) => list.length > 0), ['*']]);
  });
const assignments: fc.Arbitrary<Assignment> = fc.oneof(
  named,
  fc.integer({ min: 1, max: 8 }).map((count) => hashAssignment(1, count)),
);

describe('an assignment', () => {
  test('deals each schedule out to exactly one shard, within whose scope it is', () => {
    fc.assert(
      fc.property(assignments, places, (assignment, place) => {
        const holders = assignment.shards.filter(({ name }) => holds(assignment, name, place));
        expect(holders.map(({ name }) => name)).toEqual([shardOf(assignment, place)]);
      }),
    );
  });

  test('a shard more takes about its share of the hash slots, and no other gets any', () => {
    for (let count = 1; count < MOST_SHARDS; count++) {
      const before = hashAssignment(1, count);
      const after = hashAssignment(2, count + 1);
      let moved = 0;
      for (let slot = 0; slot < HASH_SLOTS; slot++) {
        const [from, to] = [indexOf(before, slot), indexOf(after, slot)];
        if (from === to) continue;
        expect(to).toBe(count);
        moved++;
      }
      const share = HASH_SLOTS / (count + 1);
      // Four standard deviations.
      expect(Math.abs(moved - share)).toBeLessThan(4 * Math.sqrt(share));
    }
  });

  test('no hash shard is left without slots, or has many more than its share', () => {
    for (let count = 1; count <= MOST_SHARDS; count++) {
      const assignment = hashAssignment(1, count);
      for (const { name } of assignment.shards) {
        const scope = scopeOf(assignment, name);
        const share = HASH_SLOTS / count;
        const slots = scope.strategy === 'hash' ? scope.slots.length : Number.NaN;
        expect(slots).toBeGreaterThan(share / 4);
        expect(slots).toBeLessThan(share * 2 + 4);
      }
    }
  });

  test('shards have names that say what they are', () => {
    expect(hashAssignment(1, 1).shards.map(({ name }) => name)).toEqual(['default']);
    expect(hashAssignment(1, 3).shards.map(({ name }) => name)).toEqual(['hash-0', 'hash-1', 'hash-2']);
    expect(namedAssignment(1, 'project', [['shop', 'billing'], ['*']]).shards).toEqual([
      { name: 'project-billing', ids: ['billing', 'shop'] },
      { name: 'project-*', ids: ['*'] },
    ]);
  });

  test('is the same whatever the order of its shards and ids', () => {
    const one = namedAssignment(1, 'project', [['shop', 'billing'], ['*']]);
    expect(sameShards(one, namedAssignment(2, 'project', [['*'], ['billing', 'shop']]))).toBe(true);
    expect(sameShards(one, namedAssignment(1, 'domain', [['shop', 'billing'], ['*']]))).toBe(false);
    expect(sameShards(one, namedAssignment(1, 'project', [['shop'], ['*']]))).toBe(false);
    expect(sameShards(hashAssignment(1, 2), hashAssignment(1, 3))).toBe(false);
  });

  test('one shard alone has everything', () => {
    expect(isEverything(scopeOf(hashAssignment(1, 1), 'default'))).toBe(true);
    expect(isEverything(scopeOf(namedAssignment(1, 'domain', [['*']]), 'domain-*'))).toBe(true);
    expect(isEverything(scopeOf(hashAssignment(1, 2), 'hash-1'))).toBe(false);
    expect(isEverything(scopeOf(namedAssignment(1, 'domain', [['a'], ['*']]), 'domain-*'))).toBe(false);
    expect(() => scopeOf(hashAssignment(4, 2), 'default')).toThrow('assignment 4 has no shard default');
  });
});

describe('leases of older versions', () => {
  test('are found whenever a schedule was in both shards', () => {
    fc.assert(
      fc.property(assignments, assignments, places, (before, next, place) => {
        const after = { ...next, version: 2 };
        const shard = shardOf(after, place);
        expect(olderLeases([before, after], after, shard)).toContainEqual({
          version: 1,
          shard: shardOf(before, place),
        });
      }),
    );
  });

  test('are no more than that within a strategy', () => {
    fc.assert(
      fc.property(assignments, assignments, (a, b) => {
        fc.pre(a.strategy === b.strategy);
        for (const one of a.shards) {
          for (const other of b.shards) {
            const shared = everyPlace(a.strategy).some(
              (place) => shardOf(a, place) === one.name && shardOf(b, place) === other.name,
            );
            expect(couldShareUnits(scopeOf(a, one.name), scopeOf(b, other.name))).toBe(shared);
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  test('of the same or a newer version are none', () => {
    const [one, two, three] = [1, 2, 3].map((version) => hashAssignment(version, version)) as [
      Assignment,
      Assignment,
      Assignment,
    ];
    expect(olderLeases([three, one, two], two, 'hash-1')).toEqual([{ version: 1, shard: 'default' }]);
    expect(olderLeases([one, two], one, 'default')).toEqual([]);
  });
});

function holds(assignment: Assignment, shard: string, place: SchedulePlace): boolean {
  const scope = scopeOf(assignment, shard);
  const unit = unitOf(assignment.strategy, place);
  if (scope.strategy === 'hash') return scope.slots.includes(unit as number);
  return scope.names.includes(unit as string) !== scope.others;
}

function indexOf(assignment: Assignment, hashSlot: number): number {
  const shard = shardOf(assignment, { hashSlot, project: 'p', domain: 'd' });
  return assignment.shards.findIndex(({ name }) => name === shard);
}

/** A place in each unit there may be; `z` is a name that no shard has. */
function everyPlace(strategy: Assignment['strategy']) {
  if (strategy === 'hash')
    return Array.from({ length: HASH_SLOTS }, (_, hashSlot) => ({ hashSlot, project: 'p', domain: 'd' }));
  return ['a', 'b', 'c', 'd', 'z'].map((name) => ({ hashSlot: 0, project: name, domain: name }));
}
