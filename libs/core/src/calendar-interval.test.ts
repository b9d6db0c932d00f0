import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CalendarIntervalSpec, Weekday } from './calendar-interval.ts';
import { compileRecurrence } from './recurrence.ts';
import { SpecError } from './recurrence-error.ts';

const seed = Number(process.env.CARILLON_SEED ?? Date.now() % 2 ** 31);
console.info(`calendar-interval: CARILLON_SEED=${seed}`);

const DAY_MS = 86_400_000;
const WEEKDAYS: readonly Weekday[] = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];

type Spec = Omit<CalendarIntervalSpec, 'kind'>;

function slots(spec: Spec, after: string, count: number): string[] {
  const recurrence = compileRecurrence({ pattern: { kind: 'calendar', ...spec } }, 'x');
  const found = recurrence.between(Date.parse(after) / 1000, Number.POSITIVE_INFINITY, count);
  return [...found].map((slot) => new Date(slot * 1000).toISOString().slice(0, 16));
}

/** By the definition, day by day, with nothing but Date: which local days match. */
function matches(spec: Spec, date: Date): boolean {
  const start = new Date(`${spec.startDate}T00:00:00Z`);
  if (date < start) return false;
  const days = Math.round((date.getTime() - start.getTime()) / DAY_MS);
  const months =
    (date.getUTCFullYear() - start.getUTCFullYear()) * 12 + date.getUTCMonth() - start.getUTCMonth();
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  const day = date.getUTCDate();
  const onDay = (): boolean => {
    if (spec.weekday) {
      if (WEEKDAYS[date.getUTCDay()] !== spec.weekday.day) return false;
      const [fromStart, fromEnd] = [Math.ceil(day / 7), Math.ceil((lastDay - day + 1) / 7)];
      return spec.weekday.nth > 0 ? fromStart === spec.weekday.nth : fromEnd === -spec.weekday.nth;
    }
    const wanted = spec.dayOfMonth ?? start.getUTCDate();
    return wanted > 0 ? day === wanted : day === lastDay + 1 + wanted;
  };
  switch (spec.unit) {
    case 'DAY':
      return days % spec.every === 0;
    case 'WEEK': {
      const mondayOf = (d: Date): number => d.getTime() / DAY_MS - ((d.getUTCDay() + 6) % 7);
      const weeks = Math.round((mondayOf(date) - mondayOf(start)) / 7);
      const weekdays = spec.weekdays?.length ? spec.weekdays : [WEEKDAYS[start.getUTCDay()]!];
      return weeks % spec.every === 0 && weekdays.includes(WEEKDAYS[date.getUTCDay()]!);
    }
    case 'MONTH':
      return months % spec.every === 0 && onDay();
    case 'YEAR': {
      const month = spec.month ?? start.getUTCMonth() + 1;
      const years = date.getUTCFullYear() - start.getUTCFullYear();
      return years % spec.every === 0 && date.getUTCMonth() + 1 === month && onDay();
    }
  }
}

const weekday = fc.constantFrom(...WEEKDAYS);
const startDate = fc
  .integer({ min: -3000, max: 30_000 })
  .map((day) => new Date(day * DAY_MS).toISOString().slice(0, 10));
const onDay = fc.oneof(
  fc.constant({}),
  fc
    .integer({ min: -31, max: 31 })
    .filter((n) => n !== 0)
    .map((dayOfMonth) => ({ dayOfMonth })),
  fc
    .record({ day: weekday, nth: fc.integer({ min: -5, max: 5 }).filter((n) => n !== 0) })
    .map((choice) => ({ weekday: choice })),
);
const specs: fc.Arbitrary<Spec> = fc.oneof(
  fc.record({ unit: fc.constant('DAY' as const), every: fc.integer({ min: 1, max: 400 }), startDate }),
  fc.record({
    unit: fc.constant('WEEK' as const),
    every: fc.integer({ min: 1, max: 60 }),
    startDate,
    weekdays: fc.uniqueArray(weekday, { maxLength: 4 }),
  }),
  fc
    .tuple(
      fc.record({ unit: fc.constant('MONTH' as const), every: fc.integer({ min: 1, max: 30 }), startDate }),
      onDay,
    )
    .map(([base, choice]) => ({ ...base, ...choice })),
  fc
    .tuple(
      fc.record({
        unit: fc.constant('YEAR' as const),
        every: fc.integer({ min: 1, max: 9 }),
        startDate,
        month: fc.integer({ min: 1, max: 12 }),
      }),
      onDay,
    )
    .map(([base, choice]) => ({ ...base, ...choice })),
);

describe('a calendar interval', () => {
  it('has the days of its definition, in both directions', () => {
    fc.assert(
      fc.property(specs, fc.integer({ min: -4000, max: 31_000 }), (spec, first) => {
        const [from, to] = [first * 86_400 - 1, (first + 800) * 86_400];
        const expected: number[] = [];
        for (let day = first; day < first + 800; day++) {
          if (matches(spec, new Date(day * DAY_MS)))
            expected.push(day * 86_400 + 34_200, day * 86_400 + 61_260);
        }
        const times = ['17:01', '09:30', '09:30'];
        let got: number[] = [];
        let back: number[] = [];
        try {
          const recurrence = compileRecurrence({ pattern: { kind: 'calendar', ...spec, times } }, 'x');
          got = [...recurrence.between(from, to)];
          for (let t = recurrence.previous(to); t > from; t = recurrence.previous(t)) back.push(t);
        } catch (error) {
          if (!(error instanceof SpecError) || error.kind !== 'NEVER_FIRES') throw error;
        }
        back = back.reverse();
        expect(got).toEqual(expected);
        expect(back).toEqual(expected);
      }),
      { seed, numRuns: 1500 },
    );
  });

  it('counts days, weeks, months and years from its start date', () => {
    const startDate = '2026-01-31';
    expect(slots({ unit: 'DAY', every: 3, startDate }, '2026-01-01T00:00Z', 3)).toEqual([
      '2026-01-31T00:00',
      '2026-02-03T00:00',
      '2026-02-06T00:00',
    ]);
    const fortnight = {
      unit: 'WEEK',
      every: 2,
      startDate,
      weekdays: ['MON', 'SUN'],
      times: ['09:00'],
    } as const;
    expect(slots(fortnight, '2026-01-01T00:00Z', 3)).toEqual([
      '2026-02-01T09:00',
      '2026-02-09T09:00',
      '2026-02-15T09:00',
    ]);
    expect(slots({ unit: 'MONTH', every: 1, startDate }, '2026-01-01T00:00Z', 3)).toEqual([
      '2026-01-31T00:00',
      '2026-03-31T00:00',
      '2026-05-31T00:00',
    ]);
    expect(slots({ unit: 'MONTH', every: 1, startDate, dayOfMonth: -1 }, '2026-02-01T00:00Z', 2)).toEqual([
      '2026-02-28T00:00',
      '2026-03-31T00:00',
    ]);
    const lastFriday = { unit: 'MONTH', every: 3, startDate, weekday: { day: 'FRI', nth: -1 } } as const;
    expect(slots(lastFriday, '2026-02-01T00:00Z', 2)).toEqual(['2026-04-24T00:00', '2026-07-31T00:00']);
    const leapDay = { unit: 'YEAR', every: 1, startDate: '2024-02-29' } as const;
    expect(slots(leapDay, '2024-03-01T00:00Z', 2)).toEqual(['2028-02-29T00:00', '2032-02-29T00:00']);
  });

  it('keeps the wall-clock time of its zone, and follows the policies of fixed times', () => {
    const daily = {
      unit: 'DAY',
      every: 1,
      startDate: '2026-03-28',
      times: ['02:30'],
      timeZone: 'Europe/Berlin',
    } as const;
    expect(slots(daily, '2026-03-01T00:00Z', 3)).toEqual([
      '2026-03-28T01:30',
      '2026-03-29T01:00',
      '2026-03-30T00:30',
    ]);
    expect(slots({ ...daily, dstGap: 'SHIFT' }, '2026-03-28T12:00Z', 1)).toEqual(['2026-03-29T01:30']);
    expect(slots({ ...daily, dstGap: 'SKIP' }, '2026-03-28T12:00Z', 1)).toEqual(['2026-03-30T00:30']);
    expect(slots(daily, '2026-10-24T12:00Z', 2)).toEqual(['2026-10-25T00:30', '2026-10-26T01:30']);
    expect(slots({ ...daily, dstOverlap: 'BOTH' }, '2026-10-24T12:00Z', 2)).toEqual([
      '2026-10-25T00:30',
      '2026-10-25T01:30',
    ]);
  });

  it('that never fires is refused in time', () => {
    const spec = { unit: 'MONTH', every: 12, startDate: '2026-02-01', dayOfMonth: 30 } as const;
    let fastest = Number.POSITIVE_INFINITY;
    for (let n = 0; n < 5; n++) {
      const begin = performance.now();
      expect(() => slots(spec, '2026-01-01T00:00Z', 1)).toThrow(SpecError);
      fastest = Math.min(fastest, performance.now() - begin);
    }
    expect(fastest).toBeLessThan(5);
  });

  it.each([
    [{ every: 0 }, 'every', 'MALFORMED'],
    [{ every: 1.5 }, 'every', 'MALFORMED'],
    [{ every: 10_000 }, 'every', 'MALFORMED'],
    [{ startDate: '2026-02-30' }, 'start date', 'MALFORMED'],
    [{ times: [] }, 'times', 'MALFORMED'],
    [{ times: ['9:00'] }, 'times', 'MALFORMED'],
    [{ unit: 'HOUR' as 'DAY' }, 'unit', 'MALFORMED'],
    [{ dayOfMonth: 0 }, 'day of month', 'MALFORMED'],
    [{ dayOfMonth: 32 }, 'day of month', 'MALFORMED'],
    [{ weekday: { day: 'MON', nth: 6 } as const }, 'weekday', 'MALFORMED'],
    [{ weekday: { day: 'XXX' as 'MON', nth: 1 } }, 'weekday', 'MALFORMED'],
    [{ weekday: { day: 'MON', nth: 1 } as const, dayOfMonth: 1 }, 'weekday', 'MALFORMED'],
    [{ month: 2 }, 'month', 'MALFORMED'],
    [{ unit: 'YEAR' as const, month: 13 }, 'month', 'MALFORMED'],
    [{ unit: 'DAY' as const, weekdays: ['MON'] as const }, 'weekdays', 'MALFORMED'],
    [{ unit: 'WEEK' as const, weekdays: ['constructor' as 'MON'] }, 'weekdays', 'MALFORMED'],
    [{ unit: 'WEEK' as const, dayOfMonth: 1 }, 'day of month', 'MALFORMED'],
    [{ timeZone: 'PST' }, 'time zone', 'MALFORMED'],
    [{ every: 12, startDate: '2026-02-01', dayOfMonth: 30 }, 'day of month', 'NEVER_FIRES'],
    [{ unit: 'YEAR' as const, month: 4, dayOfMonth: 31 }, 'day of month', 'NEVER_FIRES'],
    [
      { unit: 'YEAR' as const, every: 4, startDate: '2026-02-01', dayOfMonth: 29 },
      'day of month',
      'NEVER_FIRES',
    ],
  ])('%j is refused', (change, field, kind) => {
    const spec: Spec = { unit: 'MONTH', every: 1, startDate: '2026-01-01', ...change };
    try {
      slots(spec, '2026-01-01T00:00Z', 1);
      expect.fail('accepted');
    } catch (error) {
      if (!(error instanceof SpecError)) throw error;
      expect({ field: error.field, kind: error.kind }).toEqual({ field, kind });
    }
  });
});
