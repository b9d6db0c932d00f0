import { describe, expect, it } from 'vitest';
import {
  dayOf,
  dayOfDate,
  FIRST_DAY,
  FIRST_INSTANT,
  formatDay,
  formatTimeOfDay,
  formatWall,
  LAST_DAY,
  LAST_INSTANT,
  monthLength,
  monthOf,
  packedDate,
  parseDay,
  parseTimeOfDay,
  weekdayOf,
  yearOf,
} from './civil-date.ts';

describe('the calendar', () => {
  it('agrees with Date on every day of the years 1 to 9999', () => {
    const date = new Date(0);
    let wrong = 0;
    for (let day = FIRST_DAY; day <= LAST_DAY; day++) {
      const packed = packedDate(day);
      date.setTime(day * 86_400_000);
      const same =
        yearOf(packed) === date.getUTCFullYear() &&
        monthOf(packed) === date.getUTCMonth() + 1 &&
        dayOf(packed) === date.getUTCDate() &&
        weekdayOf(day) === date.getUTCDay() &&
        dayOfDate(yearOf(packed), monthOf(packed), dayOf(packed)) === day;
      if (!same) wrong++;
    }
    expect(wrong).toBe(0);
    expect(FIRST_DAY * 86_400).toBe(FIRST_INSTANT);
    expect(LAST_DAY * 86_400 + 86_399).toBe(LAST_INSTANT);
    expect(formatWall(FIRST_INSTANT)).toBe('0001-01-01T00:00:00');
    expect(formatWall(LAST_INSTANT)).toBe('9999-12-31T23:59:59');
  });

  it('knows the lengths of months', () => {
    for (let year = 1900; year <= 2100; year++) {
      for (let month = 1; month <= 12; month++) {
        expect(monthLength(year, month)).toBe(new Date(Date.UTC(year, month, 0)).getUTCDate());
      }
    }
  });
});

describe('dates and times as text', () => {
  it('reads what it writes', () => {
    for (const day of [FIRST_DAY, -1, 0, 20_000, LAST_DAY]) expect(parseDay(formatDay(day))).toBe(day);
    for (const seconds of [0, 59, 60, 34_200, 86_399])
      expect(parseTimeOfDay(formatTimeOfDay(seconds))).toBe(seconds);
  });

  it.each([
    '2026-02-29',
    '2026-13-01',
    '2026-00-10',
    '2026-1-1',
    '0000-01-01',
    '2026-01-01T00:00',
    '',
    'today',
  ])('refuses the date %j', (text) => {
    expect(parseDay(text)).toBeUndefined();
  });

  it.each(['24:00', '9:00', '09:60', '09:00:60', '0900', '', '09:00:00.5'])('refuses the time %j', (text) => {
    expect(parseTimeOfDay(text)).toBeUndefined();
  });

  it('takes 24:00 as the end of a day where asked to', () => {
    expect(parseTimeOfDay('24:00', true)).toBe(86_400);
    expect(parseTimeOfDay('24:01', true)).toBeUndefined();
  });
});
