import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExclusionCalendar, type ExclusionCalendarSpec } from './calendar-exclusion.ts';
import type { Weekday } from './calendar-interval.ts';
import { compileRecurrence, type Recurrence } from './recurrence.ts';
import { SpecError } from './recurrence-error.ts';
import type { CronSpec } from './recurrence-spec.ts';

const seed = Number(process.env.CARILLON_SEED ?? Date.now() % 2 ** 31);
console.info(`calendar-exclusion: CARILLON_SEED=${seed}`);

const WEEKDAYS: readonly Weekday[] = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
const NEVER = Number.POSITIVE_INFINITY;

function cron(
  expression: string,
  exclusions: ExclusionCalendarSpec[],
  rest: Partial<CronSpec> = {},
): Recurrence {
  return compileRecurrence({ pattern: { kind: 'cron', expression, ...rest }, exclusions }, 'x');
}

function at(text: string): number {
  return Date.parse(text) / 1000;
}

/** By the definition: the date, weekday and time of day of an instant, from the digits of a clock in that zone. */
function lies(spec: ExclusionCalendarSpec, instant: number): boolean {
  const two = '2-digit';
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: spec.timeZone ?? 'UTC',
    hourCycle: 'h23',
    year: 'numeric',
    month: two,
    day: two,
    hour: two,
    minute: two,
    second: two,
  });
  const [date, time] = format.format(instant * 1000).split(' ') as [string, string];
  if (spec.dates?.includes(date)) return true;
  if (spec.ranges?.some(({ from, to }) => from <= date && date <= to)) return true;
  const today = new Date(`${date}T00:00:00Z`).getUTCDay();
  return (spec.weekly ?? []).some(({ weekdays, from = '00:00', to = '24:00' }) => {
    const includes = (day: number): boolean => weekdays.includes(WEEKDAYS[(day + 7) % 7]!);
    const clock = time.slice(0, 5);
    if (to > from) return includes(today) && from <= clock && clock < to;
    return (includes(today) && from <= clock) || (includes(today - 1) && clock < to);
  });
}

const date = fc
  .integer({ min: 20_500, max: 20_540 })
  .map((day) => new Date(day * 86_400_000).toISOString().slice(0, 10));
const clock = fc
  .integer({ min: 0, max: 47 })
  .map((n) => `${String(n >> 1).padStart(2, '0')}:${n & 1 ? '30' : '00'}`);
const calendar: fc.Arbitrary<ExclusionCalendarSpec> = fc.record({
  name: fc.constantFrom('holidays', 'freeze'),
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
  dates: fc.array(date, { maxLength: 3 }),
  ranges: fc.array(
    fc.tuple(date, date).map(([a, b]) => (a < b ? { from: a, to: b } : { from: b, to: a })),
    { maxLength: 1 },
  ),
  weekly: fc.array(
    fc.record({
      weekdays: fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { minLength: 1, maxLength: 3 }),
      from: clock,
      to: fc.oneof(clock, fc.constant('24:00')),
    }),
    { maxLength: 2 },
  ),
});

describe('exclusion calendars', () => {
  it('take away the slots that lie in them, and no others, in both directions', { timeout: 60_000 }, () => {
    const patterns = fc.constantFrom('0 * * * *', '*/30 8-18 * * *', '15 2 * * *', '0 0 * * MON');
    fc.assert(
      fc.property(fc.array(calendar, { minLength: 1, maxLength: 2 }), patterns, (exclusions, expression) => {
        // March 2026, with the changes of the clocks in Berlin and New York.
        const [from, to] = [20_500 * 86_400, 20_545 * 86_400];
        const zone = { timeZone: 'Europe/Berlin' };
        const recurrence = cron(expression, exclusions, zone);
        const expected = [...cron(expression, [], zone).between(from, to)].filter(
          (slot) => !exclusions.some((spec) => lies(spec, slot)),
        );
        const back: number[] = [];
        for (let t = recurrence.previous(to + 0.5); t > from; t = recurrence.previous(t)) back.push(t);
        expect([...recurrence.between(from, to)]).toEqual(expected);
        expect(back.reverse()).toEqual(expected);
      }),
      { seed, numRuns: 120 },
    );
  });

  it('count days in their own zone', () => {
    const christmas = { name: 'christmas', timeZone: 'America/New_York', dates: ['2026-12-25'] };
    const hourly = cron('0 * * * *', [christmas]);
    expect(hourly.next(at('2026-12-25T04:00:00Z'))).toBe(at('2026-12-26T05:00:00Z'));
    expect(hourly.previous(at('2026-12-26T05:00:00Z'))).toBe(at('2026-12-25T04:00:00Z'));
  });

  it('leap over long exclusions, not from slot to slot', () => {
    const sabbatical = { name: 'sabbatical', ranges: [{ from: '2000-01-01', to: '2099-12-31' }] };
    const secondly = cron('* * * * * *', [sabbatical], { dialect: 'SECONDS', timeZone: 'Europe/Berlin' });
    const begin = performance.now();
    expect(secondly.next(at('2026-01-01T00:00:00Z'))).toBe(at('2100-01-01T00:00:00Z'));
    expect(secondly.previous(at('2026-01-01T00:00:00Z'))).toBe(at('1999-12-31T23:59:59Z'));
    // From slot to slot it would be two thousand million steps.
    expect(performance.now() - begin).toBeLessThan(5000);
  });

  it('may take everything away, for ever', () => {
    const all = { name: 'all', weekly: [{ weekdays: WEEKDAYS }] };
    expect(cron('*/5 * * * *', [all], { timeZone: 'Europe/Berlin' }).next(0)).toBe(NEVER);
    expect(cron('*/5 * * * *', [all]).previous(0)).toBe(-NEVER);
    const mondays = { name: 'mondays', weekly: [{ weekdays: ['MON'] as const }] };
    expect(cron('0 9 * * MON', [mondays]).next(0)).toBe(NEVER);
    expect(cron('0 9 * * MON', [mondays]).previous(0)).toBe(-NEVER);
  });

  it('are shared by all who are under them', () => {
    const holidays = { name: 'holidays', dates: ['2026-12-25'] };
    const [one, other] = [cron('1 * * * *', [holidays]), cron('2 * * * *', [{ ...holidays }])];
    expect(one.exclusions[0]).toBe(other.exclusions[0]);
    expect(cron('1 * * * *', [{ ...holidays, name: 'other' }]).exclusions[0]).not.toBe(one.exclusions[0]);
  });

  it('hold bounds all the same', () => {
    const exclusions = [{ name: 'x', dates: ['1970-01-02'] }];
    const pattern = { kind: 'cron', expression: '0 0 * * *' } as const;
    const both = compileRecurrence({ pattern, exclusions, bounds: { start: 86_400, end: 3 * 86_400 } }, 'x');
    expect([...both.between(-NEVER, NEVER)]).toEqual([2 * 86_400, 3 * 86_400]);
    expect(both.beforeExclusions.next(0)).toBe(86_400);
  });

  it('know what lies in them', () => {
    const nights = new ExclusionCalendar({
      name: 'nights',
      timeZone: 'Europe/Berlin',
      weekly: [{ weekdays: ['SAT'], from: '22:00', to: '06:00' }],
    });
    expect(nights.excludes(at('2026-02-07T20:59:59Z'))).toBe(false);
    expect(nights.excludes(at('2026-02-07T21:00:00Z'))).toBe(true);
    expect(nights.excludes(at('2026-02-08T04:59:59Z'))).toBe(true);
    expect(nights.excludes(at('2026-02-08T05:00:00Z'))).toBe(false);
  });

  it.each([
    [{ dates: ['2026-02-30'] }, 'dates[0]'],
    [{ dates: ['2026-02-01', 'tomorrow'] }, 'dates[1]'],
    [{ ranges: [{ from: '2026-02-02', to: '2026-02-01' }] }, 'ranges[0]'],
    [{ ranges: [{ from: '2026-02-02', to: '' }] }, 'ranges[0].to'],
    [{ weekly: [{ weekdays: [] }] }, 'weekly[0]'],
    [{ weekly: [{ weekdays: ['MON' as const], from: '24:00' }] }, 'weekly[0]'],
    [{ weekly: [{ weekdays: ['MON' as const], to: '25:00' }] }, 'weekly[0]'],
    [{ weekly: [{ weekdays: ['monday' as 'MON'] }] }, 'weekly[0]'],
  ])('%j is refused, naming the calendar and the entry', (part, entry) => {
    try {
      cron('* * * * *', [{ name: 'holidays', ...part }]);
      expect.fail('accepted');
    } catch (error) {
      if (!(error instanceof SpecError)) throw error;
      expect(error.field).toBe(`exclusion calendar "holidays", ${entry}`);
    }
  });

  it('refuse an unknown zone', () => {
    expect(() => cron('* * * * *', [{ name: 'x', timeZone: 'Mars/Olympus' }])).toThrow(SpecError);
  });
});
