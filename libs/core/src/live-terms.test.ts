import { describe, expect, test } from 'vitest';
import { LIVE_GAP_MS, liveRanges, segmentsOf } from './live-terms.ts';

const FOR_EVER = Number.POSITIVE_INFINITY;

describe('live stretches', () => {
  test('the present term is live from when it is ready', () => {
    expect(liveRanges([], 5_000)).toEqual([{ after: 5_000, through: FOR_EVER }]);
  });

  test('a gap of at most 10 s between terms is live, a longer one is not', () => {
    const first = { readyMs: 0, endMs: 100_000 };
    expect(liveRanges([first], 100_000 + LIVE_GAP_MS)).toEqual([{ after: 0, through: FOR_EVER }]);
    expect(liveRanges([first], 100_001 + LIVE_GAP_MS)).toEqual([
      { after: 0, through: 100_000 },
      { after: 100_001 + LIVE_GAP_MS, through: FOR_EVER },
    ]);
  });

  test('terms may overlap, come in any order, and be empty', () => {
    const terms = [
      { readyMs: 50_000, endMs: 60_000 },
      { readyMs: 0, endMs: 70_000 },
      { readyMs: 90_000, endMs: 90_000 },
    ];
    expect(liveRanges(terms, 200_000)).toEqual([
      { after: 0, through: 70_000 },
      { after: 200_000, through: FOR_EVER },
    ]);
  });

  test('a range is cut where slots turn from missed to live and back, without a gap', () => {
    const live = liveRanges([{ readyMs: 10_000, endMs: 20_000 }], 100_000);
    expect(segmentsOf({ after: 0, through: FOR_EVER }, live)).toEqual([
      { after: 0, through: 10_000, live: false },
      { after: 10_000, through: 20_000, live: true },
      { after: 20_000, through: 100_000, live: false },
      { after: 100_000, through: FOR_EVER, live: true },
    ]);
    expect(segmentsOf({ after: 15_000, through: 30_000 }, live)).toEqual([
      { after: 15_000, through: 20_000, live: true },
      { after: 20_000, through: 30_000, live: false },
    ]);
    expect(segmentsOf({ after: 12_000, through: 13_000 }, live)).toEqual([
      { after: 12_000, through: 13_000, live: true },
    ]);
  });
});
