import {
  DAY_SECONDS,
  dayOfDate,
  FIRST_DAY,
  FIRST_INSTANT,
  LAST_DAY,
  LAST_INSTANT,
  monthLength,
  monthOf,
  packedDate,
  weekdayOf,
  yearOf,
} from './zone/civil-date.ts';
import type { WallPattern } from './zone/wall-pattern.ts';

/** A day of a month: a date, or the nth of a weekday; negative numbers count from the end. */
export interface DayChoice {
  /** 0 (Sunday) to 6; undefined for a date. */
  readonly weekday: number | undefined;
  /** 1 to 31 for a date, 1 to 5 for a weekday; or -1 (the last) and so on. */
  readonly nth: number;
}

/** A compiled calendar interval. */
export interface CalendarFields {
  readonly unit: 'DAY' | 'WEEK' | 'MONTH' | 'YEAR';
  readonly every: number;
  /** Day number of the start date. */
  readonly start: number;
  /** Times of day in seconds since midnight, ascending, each once. */
  readonly times: Int32Array;
  /** WEEK: mask of weekdays, Sunday in bit 0. */
  readonly weekdays?: number;
  /** MONTH and YEAR. */
  readonly choice?: DayChoice;
  /** YEAR: the month, 1 to 12. */
  readonly month?: number | undefined;
}

const NO_DAY = Number.NaN;

/** Every n days, weeks, months or years at some times of day. Immutable. */
export class CalendarPattern implements WallPattern {
  readonly fields: CalendarFields;
  readonly fixedTimes = true;
  readonly #times: Int32Array;
  /** The day numbers of units 0, 1, 2, … begin here: the start date, its Monday, or the first month as a count. */
  readonly #origin: number;
  /** Units of `#origin` from one turn to the next: days for DAY and WEEK, months for MONTH and YEAR. */
  readonly #stride: number;
  /** DAY and WEEK: which days of a turn match, Monday in bit 0 (a DAY turn has its one day in bit 0). */
  readonly #daysOfTurn: number;
  readonly #choice: DayChoice | undefined;

  constructor(fields: CalendarFields) {
    this.fields = fields;
    this.#times = fields.times;
    this.#choice = fields.choice;
    const date = packedDate(fields.start);
    const weekdays = fields.weekdays ?? 0;
    switch (fields.unit) {
      case 'DAY':
        this.#origin = fields.start;
        this.#stride = fields.every;
        this.#daysOfTurn = 1;
        break;
      case 'WEEK':
        this.#origin = fields.start - ((weekdayOf(fields.start) + 6) % 7);
        this.#stride = fields.every * 7;
        this.#daysOfTurn = (weekdays >> 1) | ((weekdays & 1) << 6);
        break;
      case 'MONTH':
        this.#origin = yearOf(date) * 12 + monthOf(date) - 1;
        this.#stride = fields.every;
        this.#daysOfTurn = 0;
        break;
      case 'YEAR':
        this.#origin = yearOf(date) * 12 + (fields.month ?? monthOf(date)) - 1;
        this.#stride = fields.every * 12;
        this.#daysOfTurn = 0;
        break;
    }
  }

  nextWall(wall: number): number {
    if (wall > LAST_INSTANT) return Number.POSITIVE_INFINITY;
    const from = wall < FIRST_INSTANT ? FIRST_INSTANT : wall;
    const today = Math.floor(from / DAY_SECONDS);
    const seconds = from - today * DAY_SECONDS;
    let day = this.#nextDay(today);
    if (day === today) {
      for (const time of this.#times) if (time >= seconds) return today * DAY_SECONDS + time;
      day = this.#nextDay(today + 1);
    }
    return Number.isNaN(day) ? Number.POSITIVE_INFINITY : day * DAY_SECONDS + this.#times[0]!;
  }

  previousWall(wall: number): number {
    if (wall < FIRST_INSTANT) return Number.NEGATIVE_INFINITY;
    const from = wall > LAST_INSTANT ? LAST_INSTANT : wall;
    const today = Math.floor(from / DAY_SECONDS);
    const seconds = from - today * DAY_SECONDS;
    let day = this.#previousDay(today);
    if (day === today) {
      for (let i = this.#times.length - 1; i >= 0; i--) {
        if (this.#times[i]! <= seconds) return today * DAY_SECONDS + this.#times[i]!;
      }
      day = this.#previousDay(today - 1);
    }
    return Number.isNaN(day)
      ? Number.NEGATIVE_INFINITY
      : day * DAY_SECONDS + this.#times[this.#times.length - 1]!;
  }

  /** The first matching day at or after `day`. */
  #nextDay(day: number): number {
    const from = Math.max(day, this.fields.start);
    if (from > LAST_DAY) return NO_DAY;
    return this.#choice ? this.#nextDayByMonth(from, this.#choice) : this.#nextDayByTurn(from);
  }

  #nextDayByTurn(from: number): number {
    const turn = Math.floor((from - this.#origin) / this.#stride);
    const begin = this.#origin + turn * this.#stride;
    const passed = from - begin;
    const rest = passed > 6 ? 0 : this.#daysOfTurn & (-1 << passed);
    const day =
      rest !== 0
        ? begin + 31 - Math.clz32(rest & -rest)
        : begin + this.#stride + 31 - Math.clz32(this.#daysOfTurn & -this.#daysOfTurn);
    return day > LAST_DAY ? NO_DAY : day;
  }

  #nextDayByMonth(from: number, choice: DayChoice): number {
    const date = packedDate(from);
    const month = yearOf(date) * 12 + monthOf(date) - 1;
    const turn = Math.max(0, Math.ceil((month - this.#origin) / this.#stride));
    for (let m = this.#origin + turn * this.#stride; m < 120_000; m += this.#stride) {
      const day = dayInMonth(m, choice);
      if (day >= from) return day;
    }
    return NO_DAY;
  }

  /** The last matching day at or before `day`. */
  #previousDay(day: number): number {
    if (day < this.fields.start || day < FIRST_DAY) return NO_DAY;
    const found = this.#choice ? this.#previousDayByMonth(day, this.#choice) : this.#previousDayByTurn(day);
    return found >= this.fields.start ? found : NO_DAY;
  }

  #previousDayByTurn(from: number): number {
    const turn = Math.floor((from - this.#origin) / this.#stride);
    const begin = this.#origin + turn * this.#stride;
    const passed = Math.min(from - begin, 6);
    const rest = this.#daysOfTurn & ((2 << passed) - 1);
    if (rest !== 0) return begin + 31 - Math.clz32(rest);
    return begin - this.#stride + 31 - Math.clz32(this.#daysOfTurn);
  }

  #previousDayByMonth(from: number, choice: DayChoice): number {
    const date = packedDate(from);
    const month = yearOf(date) * 12 + monthOf(date) - 1;
    const turn = Math.floor((month - this.#origin) / this.#stride);
    for (let m = this.#origin + turn * this.#stride; m >= this.#origin; m -= this.#stride) {
      const day = dayInMonth(m, choice);
      if (day <= from) return day;
    }
    return NO_DAY;
  }
}

/** The day number of a choice in a month (counted from year 0); NaN, which compares false, where there is none. */
function dayInMonth(month: number, choice: DayChoice): number {
  const year = Math.floor(month / 12);
  const monthOfYear = (month % 12) + 1;
  const length = monthLength(year, monthOfYear);
  const first = dayOfDate(year, monthOfYear, 1);
  const { weekday, nth } = choice;
  let day: number;
  if (weekday === undefined) day = nth > 0 ? nth : length + 1 + nth;
  else if (nth > 0) day = 1 + ((weekday - weekdayOf(first) + 7) % 7) + (nth - 1) * 7;
  else day = length - ((weekdayOf(first + length - 1) - weekday + 7) % 7) + (nth + 1) * 7;
  return day >= 1 && day <= length ? first + day - 1 : NO_DAY;
}
