import {
  DAY_SECONDS,
  dayOf,
  dayOfDate,
  FIRST_INSTANT,
  LAST_INSTANT,
  monthLength,
  monthOf,
  packedDate,
  weekdayOf,
  yearOf,
} from '../zone/civil-date.ts';
import type { WallPattern } from '../zone/wall-pattern.ts';
import { AWS_YEARS } from './cron-field.ts';
import type { DayTable } from './day-table.ts';

/** What a cron expression says once its text is gone. Two expressions of one meaning have equal fields. */
export interface CronFields {
  /** Seconds and minutes in two masks of 30 bits each: 0 to 29, 30 to 59. */
  readonly secondsLow: number;
  readonly secondsHigh: number;
  readonly minutesLow: number;
  readonly minutesHigh: number;
  /** Bit 0 to 23. */
  readonly hours: number;
  /** Bit 1 to 12. */
  readonly months: number;
  readonly days: DayTable;
  /** One byte a year from 1970 on, in the AWS dialect; undefined where every year matches. */
  readonly years: Uint8Array | undefined;
  /** See {@link WallPattern.fixedTimes}. */
  readonly fixedTimes: boolean;
}

const NONE = -1;

function lowestBit(mask: number): number {
  return 31 - Math.clz32(mask & -mask);
}

function highestBit(mask: number): number {
  return 31 - Math.clz32(mask);
}

/** The lowest value of a 60-bit mask at or above `from`, or NONE. */
function nextOf60(low: number, high: number, from: number): number {
  if (from < 30) {
    const rest = low & (-1 << from);
    if (rest !== 0) return lowestBit(rest);
    return high === 0 ? NONE : 30 + lowestBit(high);
  }
  const rest = from < 60 ? high & (-1 << (from - 30)) : 0;
  return rest === 0 ? NONE : 30 + lowestBit(rest);
}

/** The highest value of a 60-bit mask at or below `from`, or NONE. */
function previousOf60(low: number, high: number, from: number): number {
  if (from >= 30) {
    const rest = high & (0x3fffffff >>> (59 - from));
    if (rest !== 0) return 30 + highestBit(rest);
    return low === 0 ? NONE : highestBit(low);
  }
  const rest = from < 0 ? 0 : low & (0x3fffffff >>> (29 - from));
  return rest === 0 ? NONE : highestBit(rest);
}

/** A compiled cron expression: bit masks, and nothing that changes after construction. */
export class CronPattern implements WallPattern, CronFields {
  readonly secondsLow: number;
  readonly secondsHigh: number;
  readonly minutesLow: number;
  readonly minutesHigh: number;
  readonly hours: number;
  readonly months: number;
  readonly days: DayTable;
  readonly years: Uint8Array | undefined;
  readonly fixedTimes: boolean;
  readonly #firstTime: number;
  readonly #lastTime: number;

  constructor(fields: CronFields) {
    this.secondsLow = fields.secondsLow;
    this.secondsHigh = fields.secondsHigh;
    this.minutesLow = fields.minutesLow;
    this.minutesHigh = fields.minutesHigh;
    this.hours = fields.hours;
    this.months = fields.months;
    this.days = fields.days;
    this.years = fields.years;
    this.fixedTimes = fields.fixedTimes;
    this.#firstTime = this.#nextTime(0);
    this.#lastTime = this.#previousTime(DAY_SECONDS - 1);
  }

  /** Whether any date at all matches: false for 30 February, or for a 29 February in years without one. */
  get fires(): boolean {
    for (let month = 1; month <= 12; month++) {
      if (((this.months >> month) & 1) === 0) continue;
      if (this.years === undefined) {
        // All fourteen kinds of year occur, so every length occurs with every first weekday.
        if (this.days.matchesSomeDay(month === 2 ? 28 : monthLength(2000, month), monthLength(2000, month)))
          return true;
        continue;
      }
      for (let year = AWS_YEARS.min; year <= AWS_YEARS.max; year++) {
        if (
          this.years[year - AWS_YEARS.min] === 1 &&
          this.#maskOf(year, month, dayOfDate(year, month, 1)) !== 0
        ) {
          return true;
        }
      }
    }
    return false;
  }

  nextWall(wall: number): number {
    if (wall > LAST_INSTANT) return Number.POSITIVE_INFINITY;
    const from = wall < FIRST_INSTANT ? FIRST_INSTANT : wall;
    const today = Math.floor(from / DAY_SECONDS);
    const date = packedDate(today);
    const dayOfMonth = dayOf(date);
    let year = yearOf(date);
    let month = monthOf(date);
    let first = today - dayOfMonth + 1;
    let mask = this.#maskOf(year, month, first);
    if ((mask >>> dayOfMonth) & 1) {
      const time = this.#nextTime((from - today * DAY_SECONDS) | 0);
      if (time !== NONE) return today * DAY_SECONDS + time;
    }
    mask &= -2 << dayOfMonth;
    while (mask === 0) {
      const rest = this.months & (-2 << month);
      if (rest === 0) {
        year = this.#nextYear(year + 1);
        month = lowestBit(this.months);
        if (year > 9999) return Number.POSITIVE_INFINITY;
      } else {
        month = lowestBit(rest);
      }
      first = dayOfDate(year, month, 1);
      mask = this.#maskOf(year, month, first);
    }
    return (first + lowestBit(mask) - 1) * DAY_SECONDS + this.#firstTime;
  }

  previousWall(wall: number): number {
    if (wall < FIRST_INSTANT) return Number.NEGATIVE_INFINITY;
    const from = wall > LAST_INSTANT ? LAST_INSTANT : wall;
    const today = Math.floor(from / DAY_SECONDS);
    const date = packedDate(today);
    const dayOfMonth = dayOf(date);
    let year = yearOf(date);
    let month = monthOf(date);
    let first = today - dayOfMonth + 1;
    let mask = this.#maskOf(year, month, first);
    if ((mask >>> dayOfMonth) & 1) {
      const time = this.#previousTime((from - today * DAY_SECONDS) | 0);
      if (time !== NONE) return today * DAY_SECONDS + time;
    }
    mask &= (1 << dayOfMonth) - 1;
    while (mask === 0) {
      const rest = this.months & ((1 << month) - 1);
      if (rest === 0) {
        year = this.#previousYear(year - 1);
        month = highestBit(this.months);
        if (year < 1) return Number.NEGATIVE_INFINITY;
      } else {
        month = highestBit(rest);
      }
      first = dayOfDate(year, month, 1);
      mask = this.#maskOf(year, month, first);
    }
    return (first + highestBit(mask) - 1) * DAY_SECONDS + this.#lastTime;
  }

  /** The matching days of a month whose first day has the day number `first`. */
  #maskOf(year: number, month: number, first: number): number {
    if (((this.months >> month) & 1) === 0) return 0;
    if (this.years !== undefined && this.years[year - AWS_YEARS.min] !== 1) return 0;
    return this.days.masks[(monthLength(year, month) - 28) * 7 + weekdayOf(first)]!;
  }

  #nextYear(year: number): number {
    if (this.years === undefined) return year;
    for (let y = Math.max(year, AWS_YEARS.min); y <= AWS_YEARS.max; y++) {
      if (this.years[y - AWS_YEARS.min] === 1) return y;
    }
    return Number.POSITIVE_INFINITY;
  }

  #previousYear(year: number): number {
    if (this.years === undefined) return year;
    for (let y = Math.min(year, AWS_YEARS.max); y >= AWS_YEARS.min; y--) {
      if (this.years[y - AWS_YEARS.min] === 1) return y;
    }
    return Number.NEGATIVE_INFINITY;
  }

  /** The earliest time of day at or after `from` (seconds since midnight), or NONE. */
  #nextTime(from: number): number {
    const hour = (from / 3600) | 0;
    if ((this.hours >> hour) & 1) {
      const inHour = from - hour * 3600;
      const minute = (inHour / 60) | 0;
      let found = nextOf60(this.minutesLow, this.minutesHigh, minute);
      if (found === minute) {
        const second = nextOf60(this.secondsLow, this.secondsHigh, inHour - minute * 60);
        if (second !== NONE) return hour * 3600 + minute * 60 + second;
        found = nextOf60(this.minutesLow, this.minutesHigh, minute + 1);
      }
      if (found !== NONE) return hour * 3600 + found * 60 + nextOf60(this.secondsLow, this.secondsHigh, 0);
    }
    const rest = this.hours & (-2 << hour);
    if (rest === 0) return NONE;
    const minute = nextOf60(this.minutesLow, this.minutesHigh, 0);
    return lowestBit(rest) * 3600 + minute * 60 + nextOf60(this.secondsLow, this.secondsHigh, 0);
  }

  /** The latest time of day at or before `from` (seconds since midnight), or NONE. */
  #previousTime(from: number): number {
    const hour = (from / 3600) | 0;
    if ((this.hours >> hour) & 1) {
      const inHour = from - hour * 3600;
      const minute = (inHour / 60) | 0;
      let found = previousOf60(this.minutesLow, this.minutesHigh, minute);
      if (found === minute) {
        const second = previousOf60(this.secondsLow, this.secondsHigh, inHour - minute * 60);
        if (second !== NONE) return hour * 3600 + minute * 60 + second;
        found = previousOf60(this.minutesLow, this.minutesHigh, minute - 1);
      }
      if (found !== NONE)
        return hour * 3600 + found * 60 + previousOf60(this.secondsLow, this.secondsHigh, 59);
    }
    const rest = this.hours & ((1 << hour) - 1);
    if (rest === 0) return NONE;
    const minute = previousOf60(this.minutesLow, this.minutesHigh, 59);
    return highestBit(rest) * 3600 + minute * 60 + previousOf60(this.secondsLow, this.secondsHigh, 59);
  }
}
