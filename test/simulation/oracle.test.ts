import { describe, expect, test } from 'vitest';
import { slotsOf } from './oracle.ts';
import type { SimSpec, ZonedPattern } from './sim-spec.ts';

type Cron = Extract<ZonedPattern, { kind: 'cron' }>;

function specOf(pattern: SimSpec['pattern'], changes: Partial<SimSpec> = {}): SimSpec {
  return {
    pattern,
    start: undefined,
    end: undefined,
    excluded: undefined,
    jitterSec: 0,
    windowMs: 86_400_000,
    catchUp: 'ALL',
    catchUpLimit: 0,
    overlap: 'ALLOW',
    overlapLimit: 0,
    ...changes,
  };
}

function cron(zone: string, fields: Partial<Cron>): Cron {
  return {
    kind: 'cron',
    zone,
    dstGap: 'AUTO',
    dstOverlap: 'AUTO',
    seconds: [0],
    minutes: [0],
    hours: [],
    weekdays: [],
    ...fields,
  };
}

/** The slots after one instant and up to another, as the clock in Greenwich shows them. */
function slotsBetween(spec: SimSpec, from: string, to: string): string[] {
  const timing = { spec, anchor: 0, identity: 'p/d/s' };
  return slotsOf(timing, Date.parse(from), Date.parse(to)).map(({ nominal }) =>
    new Date(nominal * 1000).toISOString().slice(11, 19),
  );
}

describe('the oracle, where Berlin goes from 02:00 to 03:00', () => {
  const around = (fields: Partial<Cron>): string[] =>
    slotsBetween(specOf(cron('Europe/Berlin', fields)), '2027-03-28T00:30:00Z', '2027-03-28T02:29:59Z');

  test.each([
    ['AUTO', ['01:00:00']],
    ['NEXT_VALID', ['01:00:00']],
    ['SHIFT', ['01:10:05']],
    ['SKIP', []],
  ] as const)('a fixed time under %s', (dstGap, expected) => {
    expect(around({ hours: [2], minutes: [10], seconds: [5], dstGap })).toEqual(expected);
  });

  test('an interval is dropped, unless that takes all slots of the date', () => {
    expect(around({ hours: [], minutes: [10] })).toEqual(['01:10:00', '02:10:00']);
    expect(around({ hours: [2], minutes: [] })).toEqual(['01:00:00']);
  });
});

describe('the oracle, where Berlin goes from 03:00 back to 02:00', () => {
  const around = (fields: Partial<Cron>): string[] =>
    slotsBetween(specOf(cron('Europe/Berlin', fields)), '2026-10-24T23:59:59Z', '2026-10-25T01:59:59Z');

  test.each([
    ['AUTO', ['00:10:00']],
    ['FIRST', ['00:10:00']],
    ['LAST', ['01:10:00']],
    ['BOTH', ['00:10:00', '01:10:00']],
  ] as const)('a fixed time under %s', (dstOverlap, expected) => {
    expect(around({ hours: [2], minutes: [10], dstOverlap })).toEqual(expected);
  });

  test('an interval fires in both passes', () => {
    expect(around({ hours: [], minutes: [10] })).toEqual(['00:10:00', '01:10:00']);
  });
});

test('the oracle, where Lord Howe goes forward by half an hour', () => {
  const spec = specOf(cron('Australia/Lord_Howe', { hours: [2], minutes: [10], dstGap: 'SHIFT' }));
  expect(slotsBetween(spec, '2026-10-03T15:00:00Z', '2026-10-03T16:00:00Z')).toEqual(['15:40:00']);
});

test('the oracle counts the days and weeks of a calendar interval, and leaves out what is excluded', () => {
  const calendar = {
    kind: 'calendar',
    zone: 'Asia/Kolkata',
    dstGap: 'AUTO',
    dstOverlap: 'AUTO',
    every: 2,
    startDay: Date.parse('2026-07-01') / 86_400_000,
    times: [0, 60],
    weekdays: [3],
  } as const;
  const days = (spec: SimSpec): string[] =>
    slotsBetween(spec, '2026-06-30T00:00:00Z', '2026-07-16T00:00:00Z');
  // Wednesday 1 July begins at 18:30 the day before in Greenwich.
  expect(days(specOf({ ...calendar, unit: 'WEEK' }))).toEqual([
    '18:30:00',
    '18:31:00',
    '18:30:00',
    '18:31:00',
  ]);
  expect(days(specOf({ ...calendar, unit: 'DAY' }))).toHaveLength(16);
  const excluded = { zone: 'UTC', dates: [], weekdays: [2], from: 66_600, to: 66_601 };
  expect(days(specOf({ ...calendar, unit: 'WEEK' }, { excluded }))).toEqual(['18:31:00', '18:31:00']);
});
