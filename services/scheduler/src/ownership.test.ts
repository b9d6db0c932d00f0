import { hashAssignment, SINGLE_SHARD } from '@carillon/core/assignment.ts';
import { expect, test } from 'vitest';
import { Ownership } from './ownership.ts';

const ASSIGNMENT = hashAssignment(1, 1);

function ownership(isOtherDatabase: boolean, endMs: readonly number[]): Ownership {
  return new Ownership({
    assignment: ASSIGNMENT,
    history: [ASSIGNMENT],
    shard: SINGLE_SHARD,
    earlier: endMs.map((end) => ({ shard: SINGLE_SHARD, version: 1, readyMs: end - 1_000, endMs: end })),
    quarantined: [],
    readyMs: 60_000,
    isOtherDatabase,
  });
}

test('earlier leaders may have sent what was due until the last of them ended', () => {
  expect(ownership(false, []).sentBeforeMs).toBe(Number.NEGATIVE_INFINITY);
  expect(ownership(false, [5_000, 9_000, 7_000]).sentBeforeMs).toBe(9_000);
});

test('in a promoted standby they may have sent anything, for it may not know how long they led', () => {
  expect(ownership(true, [5_000, 9_000]).sentBeforeMs).toBe(60_000);
  expect(ownership(true, []).sentBeforeMs).toBe(60_000);
});
