import { CalendarPattern, type DayChoice } from './calendar-pattern.ts';
import { SpecError } from './recurrence-error.ts';
import type { DstGap, DstOverlap } from './recurrence-spec.ts';
import { dayOf, monthOf, packedDate, parseDay, parseTimeOfDay, weekdayOf } from './zone/civil-date.ts';

/** Weekdays as specs name them; the order is that of ISO 8601. */
export type Weekday = 'MON' | 'TUE' | 'WED' | 'THU' | 'FRI' | 'SAT' | 'SUN';

/** The longest interval, in units: more than the calendar has years. */
export const MAX_INTERVAL = 9999;

/**
 * Every n days, weeks, months or years, counted from a date, at one or more times of day in a zone. Nothing lies
 * before the start date. Days that a month does not have are skipped, as in cron; count from the end (-1) to
 * always have one.
 */
export interface CalendarIntervalSpec {
  readonly kind: 'calendar';
  readonly unit: 'DAY' | 'WEEK' | 'MONTH' | 'YEAR';
  /** 1 to {@link MAX_INTERVAL} units. */
  readonly every: number;
  /** Local date, `YYYY-MM-DD`, in the first unit of the count. Weeks begin on Monday. */
  readonly startDate: string;
  /** Local times, `HH:MM` or `HH:MM:SS`; default `00:00`. */
  readonly times?: readonly string[] | undefined;
  /** WEEK only; default: the weekday of the start date. */
  readonly weekdays?: readonly Weekday[] | undefined;
  /** MONTH and YEAR only: 1 to 31, or -1 (the last) to -31. Default: the start date's, unless `weekday` is given. */
  readonly dayOfMonth?: number | undefined;
  /** MONTH and YEAR only, instead of `dayOfMonth`: the nth such weekday, 1 to 5, or -1 (the last) to -5. */
  readonly weekday?: { readonly day: Weekday; readonly nth: number } | undefined;
  /** YEAR only: 1 to 12; default: the start date's. */
  readonly month?: number | undefined;
  /** IANA name; default `UTC`. */
  readonly timeZone?: string | undefined;
  /** Default `AUTO`. A calendar interval has fixed times. */
  readonly dstGap?: DstGap | undefined;
  /** Default `AUTO`. */
  readonly dstOverlap?: DstOverlap | undefined;
}

const WEEKDAY_NUMBER: Readonly<Record<Weekday, number>> = {
  SUN: 0,
  MON: 1,
  TUE: 2,
  WED: 3,
  THU: 4,
  FRI: 5,
  SAT: 6,
};

/** 0 (Sunday) to 6 for the name of a weekday; undefined when it is none. */
export function weekdayNumber(name: string): number | undefined {
  return Object.hasOwn(WEEKDAY_NUMBER, name) ? WEEKDAY_NUMBER[name as Weekday] : undefined;
}

function fault(field: string, problem: string, advice: string): SpecError {
  return new SpecError({ kind: 'MALFORMED', field, problem, advice });
}

/** Compiles the dates and times of an interval. Throws {@link SpecError}, also `NEVER_FIRES` (every 12 months on 30 February). */
export function compileCalendarInterval(spec: CalendarIntervalSpec): CalendarPattern {
  if (!Number.isInteger(spec.every) || spec.every < 1 || spec.every > MAX_INTERVAL) {
    throw fault('every', `${spec.every} is no number of units`, `give 1 to ${MAX_INTERVAL}`);
  }
  const start = parseDay(spec.startDate);
  if (start === undefined)
    throw fault('start date', 'this is no date', 'give YYYY-MM-DD, such as 2026-01-31');
  const times = compileTimes(spec.times ?? ['00:00']);
  refuseForeignFields(spec);
  const pattern = new CalendarPattern({ ...rhythm(spec, start), start, every: spec.every, times });
  if (pattern.nextWall(Number.NEGATIVE_INFINITY) === Number.POSITIVE_INFINITY) {
    throw new SpecError({
      kind: 'NEVER_FIRES',
      field: 'day of month',
      problem: 'no month of this interval has such a day',
      advice: 'choose a day that exists, or count from the end of the month (-1 is its last day)',
    });
  }
  return pattern;
}

type Rhythm =
  | { readonly unit: 'DAY' }
  | { readonly unit: 'WEEK'; readonly weekdays: number }
  | { readonly unit: 'MONTH'; readonly choice: DayChoice; readonly month: undefined }
  | { readonly unit: 'YEAR'; readonly choice: DayChoice; readonly month: number };

function rhythm(spec: CalendarIntervalSpec, start: number): Rhythm {
  switch (spec.unit) {
    case 'DAY':
      return { unit: 'DAY' };
    case 'WEEK':
      return { unit: 'WEEK', weekdays: compileWeekdays(spec.weekdays, start) };
    case 'MONTH':
      return { unit: 'MONTH', choice: dayChoice(spec, start), month: undefined };
    case 'YEAR': {
      const month = spec.month ?? monthOf(packedDate(start));
      if (!Number.isInteger(month) || month < 1 || month > 12) {
        throw fault('month', `${month} is no month`, 'give 1 to 12');
      }
      return { unit: 'YEAR', choice: dayChoice(spec, start), month };
    }
    default:
      throw fault('unit', 'this is no unit', 'give DAY, WEEK, MONTH or YEAR');
  }
}

function compileTimes(times: readonly string[]): Int32Array {
  const seconds = new Set<number>();
  for (const time of times) {
    const value = parseTimeOfDay(time);
    if (value === undefined)
      throw fault('times', 'this is no time of day', 'give HH:MM or HH:MM:SS, such as 09:30');
    seconds.add(value);
  }
  if (seconds.size === 0) throw fault('times', 'there is no time of day', 'give one or more, such as 09:30');
  return Int32Array.from(seconds).sort();
}

function compileWeekdays(weekdays: readonly Weekday[] | undefined, start: number): number {
  if (weekdays === undefined || weekdays.length === 0) return 1 << weekdayOf(start);
  let mask = 0;
  for (const name of weekdays) mask |= 1 << requireWeekday(name, 'weekdays');
  return mask;
}

function requireWeekday(name: string, field: string): number {
  const number = weekdayNumber(name);
  if (number === undefined)
    throw fault(field, 'this is no weekday', 'give MON, TUE, WED, THU, FRI, SAT or SUN');
  return number;
}

function dayChoice(spec: CalendarIntervalSpec, start: number): DayChoice {
  if (spec.weekday !== undefined) {
    if (spec.dayOfMonth !== undefined) {
      throw fault('weekday', 'both a weekday and a day of the month are given', 'give one of the two');
    }
    const { day, nth } = spec.weekday;
    if (!Number.isInteger(nth) || nth === 0 || Math.abs(nth) > 5) {
      throw fault('weekday', `${nth} counts no weekday`, 'give 1 to 5, or -1 for the last');
    }
    return { weekday: requireWeekday(day, 'weekday'), nth };
  }
  const dayOfMonth = spec.dayOfMonth ?? dayOf(packedDate(start));
  if (!Number.isInteger(dayOfMonth) || dayOfMonth === 0 || Math.abs(dayOfMonth) > 31) {
    throw fault('day of month', `${dayOfMonth} is no day of a month`, 'give 1 to 31, or -1 for the last');
  }
  return { weekday: undefined, nth: dayOfMonth };
}

function refuseForeignFields(spec: CalendarIntervalSpec): void {
  const monthly = spec.unit === 'MONTH' || spec.unit === 'YEAR';
  const foreign =
    (spec.weekdays !== undefined && spec.weekdays.length > 0 && spec.unit !== 'WEEK' && 'weekdays') ||
    (spec.dayOfMonth !== undefined && !monthly && 'day of month') ||
    (spec.weekday !== undefined && !monthly && 'weekday') ||
    (spec.month !== undefined && spec.unit !== 'YEAR' && 'month');
  if (foreign)
    throw fault(foreign, `it does not go with the unit ${spec.unit}`, 'leave it out, or change the unit');
}
