import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DueRange, unionOf, without } from './due-ranges.ts';

const range = fc
  .tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 12 }))
  .map(([after, length]) => ({
    after,
    through: after + length,
  }));

function members(ranges: readonly DueRange[]): Set<number> {
  const found = new Set<number>();
  for (const { after, through } of ranges) for (let at = after + 1; at <= through; at++) found.add(at);
  return found;
}

describe('due ranges', () => {
  test('a union holds what any of them holds, ascending, disjoint and not touching', () => {
    fc.assert(
      fc.property(fc.array(range), (ranges) => {
        const union = unionOf(ranges);
        expect(members(union)).toEqual(members(ranges));
        for (let i = 1; i < union.length; i++) expect(union[i]!.after).toBeGreaterThan(union[i - 1]!.through);
      }),
    );
  });

  test('what is left without holes is in the range and in no hole', () => {
    fc.assert(
      fc.property(range, fc.array(range), (whole, holes) => {
        const rest = members(without(whole, unionOf(holes)));
        const inHoles = members(holes);
        expect(rest).toEqual(new Set([...members([whole])].filter((at) => !inHoles.has(at))));
      }),
    );
  });

  test('ends may be infinite', () => {
    const everything = { after: Number.NEGATIVE_INFINITY, through: Number.POSITIVE_INFINITY };
    expect(without(everything, [{ after: 1, through: 2 }])).toEqual([
      { after: Number.NEGATIVE_INFINITY, through: 1 },
      { after: 2, through: Number.POSITIVE_INFINITY },
    ]);
  });
});
