import { describe, expect, it } from 'vitest';
import { compileRecurrence } from './recurrence.ts';
import { isComplete, remainingAfter, startableActions } from './recurrence-completion.ts';
import { previewSlots } from './recurrence-preview.ts';

function at(text: string): number {
  return Date.parse(text) / 1000;
}

describe('a preview', () => {
  const pattern = {
    kind: 'cron',
    expression: '30 2 * * *',
    timeZone: 'Europe/Berlin',
    dstOverlap: 'BOTH',
  } as const;
  const exclusions = [{ name: 'holidays', timeZone: 'Europe/Berlin', dates: ['2026-03-30'] }];
  const recurrence = compileRecurrence({ pattern, exclusions }, 'x');

  it('marks what was moved out of a gap, and what a calendar takes away', () => {
    const lines = [...previewSlots(recurrence, 'p/d/s', { after: at('2026-03-28T00:00:00Z'), limit: 4 })];
    expect(
      lines.map(({ local, offsetSeconds, dstEffect, excludedBy }) => [
        local,
        offsetSeconds,
        dstEffect,
        excludedBy,
      ]),
    ).toEqual([
      ['2026-03-28T02:30:00', 3600, 'NONE', undefined],
      ['2026-03-29T03:00:00', 7200, 'MOVED', undefined],
      ['2026-03-30T02:30:00', 7200, 'NONE', 'holidays'],
      ['2026-03-31T02:30:00', 7200, 'NONE', undefined],
    ]);
    expect(lines.every(({ nominal, dueMs }) => dueMs === nominal * 1000)).toBe(true);
  });

  it('marks both passes of a repeated hour', () => {
    const lines = [...previewSlots(recurrence, 'p/d/s', { after: at('2026-10-24T12:00:00Z'), limit: 3 })];
    expect(lines.map(({ local, dstEffect }) => [local, dstEffect])).toEqual([
      ['2026-10-25T02:30:00', 'FIRST_PASS'],
      ['2026-10-25T02:30:00', 'SECOND_PASS'],
      ['2026-10-26T02:30:00', 'NONE'],
    ]);
  });

  it('can leave out what is excluded, ends at `until`, and shows jitter', () => {
    const range = { after: at('2026-03-28T00:00:00Z'), until: at('2026-04-01T00:30:00Z'), limit: 99 };
    const lines = [
      ...previewSlots(recurrence, 'p/d/s', { ...range, showExcluded: false, jitterSeconds: 600 }),
    ];
    expect(lines.map(({ local }) => local.slice(0, 10))).toEqual([
      '2026-03-28',
      '2026-03-29',
      '2026-03-31',
      '2026-04-01',
    ]);
    for (const { nominal, dueMs } of lines) {
      expect(dueMs).toBeGreaterThanOrEqual(nominal * 1000);
      expect(dueMs).toBeLessThan((nominal + 600) * 1000);
    }
    expect(new Set(lines.map(({ nominal, dueMs }) => dueMs - nominal * 1000)).size).toBeGreaterThan(1);
  });

  it('ends with the last slot', () => {
    const once = compileRecurrence({ pattern: { kind: 'at', at: 100 } }, 'x');
    expect([...previewSlots(once, 'x', { after: 0, limit: 5 })]).toEqual([
      {
        nominal: 100,
        dueMs: 100_000,
        local: '1970-01-01T00:01:40',
        offsetSeconds: 0,
        dstEffect: 'NONE',
        excludedBy: undefined,
      },
    ]);
  });
});

describe('completion', () => {
  const bounded = compileRecurrence(
    { pattern: { kind: 'rate', everySeconds: 10, anchor: 0 }, bounds: { end: 30 } },
    'x',
  );

  it('holds back what is under way from what remains', () => {
    expect(startableActions(undefined, 1_000)).toBe(Number.POSITIVE_INFINITY);
    expect(startableActions(5, 2)).toBe(3);
    expect(startableActions(5, 5)).toBe(0);
    expect(startableActions(5, 7)).toBe(0);
  });

  it('counts fired slots alone, down to none', () => {
    expect(remainingAfter(undefined, 3)).toBeUndefined();
    expect(remainingAfter(5, 3)).toBe(2);
    expect(remainingAfter(5, 9)).toBe(0);
  });

  it('comes when nothing remains or no slot is left', () => {
    expect(isComplete(bounded, 20, undefined)).toBe(false);
    expect(isComplete(bounded, 30, undefined)).toBe(true);
    expect(isComplete(bounded, 0, 1)).toBe(false);
    expect(isComplete(bounded, 0, 0)).toBe(true);
  });
});
