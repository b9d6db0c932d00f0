import { describe, expect, it } from 'vitest';
import { ordinal } from './describe-words.ts';
import { compileRecurrence } from './recurrence.ts';
import type { CronDialect, RecurrencePattern, RecurrenceSpec } from './recurrence-spec.ts';

function say(pattern: RecurrencePattern, rest: Omit<RecurrenceSpec, 'pattern'> = {}): string {
  return compileRecurrence({ pattern, ...rest }, 'acme/prod/report').describe();
}

describe('a cron expression in words', () => {
  it.each<[CronDialect, string, string]>([
    ['STANDARD', '0 9 * * MON-FRI', 'every weekday at 09:00'],
    ['STANDARD', '0 9 * * *', 'every day at 09:00'],
    ['STANDARD', '* * * * *', 'every minute'],
    ['STANDARD', '*/5 * * * *', 'every 5 minutes'],
    ['STANDARD', '5/15 * * * *', 'every 15 minutes from minute 5'],
    ['STANDARD', '0 * * * *', 'every hour'],
    ['STANDARD', '30 * * * *', 'every hour at minute 30'],
    ['STANDARD', '0 */2 * * *', 'every 2 hours'],
    ['STANDARD', '15 */6 * * *', 'every day at 00:15, 06:15, 12:15 and 18:15'],
    ['STANDARD', '0 8-20 * * *', 'every hour from 08:00 to 20:00'],
    ['STANDARD', '0 9,17 * * *', 'every day at 09:00 and 17:00'],
    ['STANDARD', '*/15 9-17 * * MON-FRI', 'every weekday, every 15 minutes from 09:00 to 17:45'],
    ['STANDARD', '0,1,2,40 3 * * *', 'every day at 03:00, 03:01, 03:02 and 03:40'],
    ['STANDARD', '0-10,40 3 * * *', 'at minutes 0 to 10 and 40 in hour 3'],
    ['STANDARD', '7 0-4,6,9,11 * * *', 'at minute 7 in hours 0 to 4, 6, 9 and 11'],
    ['STANDARD', '0 0 1 * *', 'on the 1st of every month at 00:00'],
    [
      'STANDARD',
      '0 0 2,3,11,22 JAN,FEB,MAR *',
      'on the 2nd, the 3rd, the 11th and the 22nd of January to March at 00:00',
    ],
    ['STANDARD', '0 0 */2 * *', 'on every 2nd day from the 1st to the 31st of every month at 00:00'],
    ['STANDARD', '0 0 L * *', 'on the last day of every month at 00:00'],
    ['STANDARD', '0 0 L-3 6 *', 'on the day 3 days before the last day of June at 00:00'],
    ['STANDARD', '0 0 LW * *', 'on the last weekday of every month at 00:00'],
    ['STANDARD', '0 0 15W * *', 'on the weekday nearest the 15th of every month at 00:00'],
    [
      'STANDARD',
      '0 0 L-1W * *',
      'on the weekday nearest the day 1 day before the last day of every month at 00:00',
    ],
    ['STANDARD', '0 0 * * MON#1,FRIL', 'on the first Monday and the last Friday of every month at 00:00'],
    ['STANDARD', '0 0 * * 2#5', 'on the fifth Tuesday of every month at 00:00'],
    ['STANDARD', '0 0 * * 6,0', 'every Saturday and Sunday at 00:00'],
    ['STANDARD', '0 0 * 12 WED', 'every Wednesday in December at 00:00'],
    ['STANDARD', '0 0 * 12 *', 'every day in December at 00:00'],
    ['STANDARD', '0 0 13 * FRI', 'on the 13th of every month and on every Friday at 00:00'],
    ['STANDARD', '0 0 */28 * FRI', 'on the 1st and the 29th of every month if it is a Friday at 00:00'],
    ['STANDARD', '@monthly', 'on the 1st of every month at 00:00'],
    ['SECONDS', '* * * * * *', 'every second'],
    ['SECONDS', '*/10 * * * * *', 'every 10 seconds'],
    ['SECONDS', '30 0 9 * * *', 'every day at 09:00:30'],
    ['SECONDS', '*/20 5 * * * *', 'every 20 seconds in minute 5'],
    ['SECONDS', '1,2,40 */30 8,9,10 * * *', 'at seconds 1, 2 and 40 in minutes 0 and 30 in hours 8 to 10'],
    ['AWS', '0 10 * * ? *', 'every day at 10:00'],
    ['AWS', '0 10 ? * L 2027', 'every Saturday in 2027 at 10:00'],
    ['AWS', '0 10 * * ? 2027-2030', 'every day in 2027 to 2030 at 10:00'],
    ['AWS', '0 10 1 1 ? 2027,2029', 'on the 1st of January in 2027 and 2029 at 10:00'],
  ])('%s %s', (dialect, expression, words) => {
    expect(say({ kind: 'cron', expression, dialect, timeZone: 'Europe/Berlin' })).toBe(
      `${words} in Europe/Berlin`,
    );
    expect(say({ kind: 'cron', expression, dialect })).toBe(`${words} in UTC`);
  });

  it('says what H has become', () => {
    expect(say({ kind: 'cron', expression: 'H H * * *' })).toMatch(/^every day at \d\d:\d\d in UTC$/);
  });
});

describe('other patterns in words', () => {
  it.each<[RecurrencePattern, string]>([
    [{ kind: 'rate', everySeconds: 1, anchor: 0 }, 'every second, counted from 1970-01-01T00:00:00Z'],
    [{ kind: 'rate', everySeconds: 90, anchor: 60 }, 'every 90 seconds, counted from 1970-01-01T00:01:00Z'],
    [
      { kind: 'rate', everySeconds: 1_209_600, anchor: 0 },
      'every 2 weeks, counted from 1970-01-01T00:00:00Z',
    ],
    [{ kind: 'cron', expression: '@every 90m' }, 'every 90 minutes, counted from 1970-01-01T00:00:00Z'],
    [{ kind: 'at', at: 1_800_000_000 }, 'once at 2027-01-15T08:00:00Z'],
    [
      { kind: 'calendar', unit: 'DAY', every: 3, startDate: '2026-01-31', times: ['17:30', '09:00'] },
      'every 3 days at 09:00 and 17:30, counted from 2026-01-31 in UTC',
    ],
    [
      { kind: 'calendar', unit: 'WEEK', every: 1, startDate: '2026-01-31', weekdays: ['SUN', 'MON'] },
      'every week on Monday and Sunday at 00:00 in UTC',
    ],
    [
      {
        kind: 'calendar',
        unit: 'MONTH',
        every: 2,
        startDate: '2026-01-31',
        weekday: { day: 'FRI', nth: -1 },
      },
      'every 2 months on the last Friday at 00:00, counted from 2026-01-31 in UTC',
    ],
    [
      {
        kind: 'calendar',
        unit: 'MONTH',
        every: 1,
        startDate: '2026-01-01',
        weekday: { day: 'FRI', nth: -2 },
      },
      'every month on the 2nd to last Friday at 00:00 in UTC',
    ],
    [
      { kind: 'calendar', unit: 'YEAR', every: 1, startDate: '2026-01-31', month: 2, dayOfMonth: -1 },
      'every year on the last day of February at 00:00 in UTC',
    ],
    [
      { kind: 'calendar', unit: 'YEAR', every: 1, startDate: '2026-07-14', timeZone: 'Europe/Paris' },
      'every year on the 14th of July at 00:00 in Europe/Paris',
    ],
  ])('%j', (pattern, words) => {
    expect(say(pattern)).toBe(words);
  });

  it('with bounds and calendars', () => {
    const exclusions = [{ name: 'holidays' }, { name: 'freeze' }];
    const bounds = { start: 0, end: 1_800_000_000 };
    expect(say({ kind: 'cron', expression: '0 9 * * *' }, { bounds, exclusions })).toBe(
      'every day at 09:00 in UTC, from 1970-01-01T00:00:00Z, until 2027-01-15T08:00:00Z, except in holidays and freeze',
    );
  });
});

it('ordinals', () => {
  const words = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31, 101, 111].map(ordinal);
  expect(words.join(' ')).toBe('1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 23rd 31st 101st 111th');
});
