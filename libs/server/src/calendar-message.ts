import type { ExclusionCalendarSpec, WeeklyExclusion } from '@carillon/core/calendar-exclusion.ts';
import type { CalendarIntervalSpec, Weekday as CoreWeekday } from '@carillon/core/calendar-interval.ts';
import type { DstGap, DstOverlap } from '@carillon/core/recurrence-spec.ts';
import {
  type CalendarInterval,
  CalendarUnit,
  type ExclusionCalendar,
  Weekday,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { known } from './known-word.ts';

const UNITS: Readonly<Partial<Record<CalendarUnit, CalendarIntervalSpec['unit']>>> = {
  [CalendarUnit.DAY]: 'DAY',
  [CalendarUnit.WEEK]: 'WEEK',
  [CalendarUnit.MONTH]: 'MONTH',
  [CalendarUnit.YEAR]: 'YEAR',
};

const WEEKDAYS: Readonly<Partial<Record<Weekday, CoreWeekday>>> = {
  [Weekday.MONDAY]: 'MON',
  [Weekday.TUESDAY]: 'TUE',
  [Weekday.WEDNESDAY]: 'WED',
  [Weekday.THURSDAY]: 'THU',
  [Weekday.FRIDAY]: 'FRI',
  [Weekday.SATURDAY]: 'SAT',
  [Weekday.SUNDAY]: 'SUN',
};

/** A calendar interval as the core reads it. @throws {SpecError} for a unit or weekday of a newer version. */
export function calendarIntervalOf(
  message: CalendarInterval,
  policies: { readonly dstGap: DstGap; readonly dstOverlap: DstOverlap },
): CalendarIntervalSpec {
  const { weekday } = message;
  return {
    kind: 'calendar',
    unit: known(UNITS, message.unit, 'unit'),
    every: message.every || 1,
    startDate: message.startDate,
    times: message.times.length > 0 ? message.times : undefined,
    weekdays: message.weekdays.length > 0 ? message.weekdays.map(weekdayOf) : undefined,
    dayOfMonth: message.dayOfMonth || undefined,
    weekday: weekday && { day: weekdayOf(weekday.day), nth: weekday.nth },
    month: message.month || undefined,
    timeZone: message.timeZone || undefined,
    ...policies,
  };
}

/** An exclusion calendar as the core reads it. @throws {SpecError} for a weekday of a newer version. */
export function exclusionCalendarOf(message: ExclusionCalendar): ExclusionCalendarSpec {
  return {
    name: message.name,
    timeZone: message.timeZone || undefined,
    dates: message.dates,
    ranges: message.ranges.map((range) => ({ from: range.fromDate, to: range.toDate })),
    weekly: message.weekly.map(
      (hours): WeeklyExclusion => ({
        weekdays: hours.weekdays.map(weekdayOf),
        from: hours.fromTime || undefined,
        to: hours.toTime || undefined,
      }),
    ),
  };
}

function weekdayOf(day: Weekday): CoreWeekday {
  return known(WEEKDAYS, day, 'weekday');
}
