import { type Weekday, weekdayNumber } from './calendar-interval.ts';
import { SpecError } from './recurrence-error.ts';
import { DAY_SECONDS, parseDay, parseTimeOfDay, weekdayOf } from './zone/civil-date.ts';
import { findZone, type Zone } from './zone/zone.ts';

/** A stretch of every week in which nothing fires; `to` is exclusive. */
export interface WeeklyExclusion {
  /** At least one. */
  readonly weekdays: readonly Weekday[];
  /** `HH:MM` or `HH:MM:SS`; default `00:00`. */
  readonly from?: string | undefined;
  /** As `from`, or `24:00`, the default. At or before `from` it lies on the following day (22:00 to 06:00). */
  readonly to?: string | undefined;
}

/** A named calendar of times in which nothing fires. It counts local time in its own zone, whatever the schedule's. */
export interface ExclusionCalendarSpec {
  readonly name: string;
  /** IANA name; default `UTC`. */
  readonly timeZone?: string | undefined;
  /** Whole local days, `YYYY-MM-DD`. */
  readonly dates?: readonly string[] | undefined;
  /** Whole local days, `YYYY-MM-DD`, both ends inclusive. */
  readonly ranges?: readonly { readonly from: string; readonly to: string }[] | undefined;
  readonly weekly?: readonly WeeklyExclusion[] | undefined;
}

const WEEK_SECONDS = 7 * DAY_SECONDS;

/** A compiled exclusion calendar. */
export class ExclusionCalendar {
  readonly name: string;
  readonly #zone: Zone;
  readonly #days: Intervals;
  readonly #weekly: Intervals;

  /** Throws {@link SpecError} naming the calendar and the entry at fault. */
  constructor(spec: ExclusionCalendarSpec) {
    this.name = spec.name;
    this.#zone = findZone(spec.timeZone ?? 'UTC');
    this.#days = new Intervals(dayIntervals(spec));
    this.#weekly = new Intervals(weeklyIntervals(spec));
  }

  /** Whether an instant (epoch seconds) lies in the calendar. */
  excludes(instant: number): boolean {
    return !Number.isNaN(this.excludedUntil(instant));
  }

  /** Where the dates begin, in local time; +Infinity when there are none. */
  get datedFrom(): number {
    return this.#days.first;
  }

  /** Where the dates end, in local time; -Infinity when there are none. From there on only weekly hours count. */
  get datedTo(): number {
    return this.#days.last;
  }

  /**
   * When an instant lies in the calendar: a later instant up to which all others do too. Otherwise NaN. It may
   * stop short of the end of the exclusion, at a change of the clocks; ask again there.
   */
  excludedUntil(instant: number): number {
    const segment = this.#zone.locate(instant);
    const wall = instant + segment.offset;
    const end = this.#endOf(wall);
    return Number.isNaN(end) ? end : Math.min(end - segment.offset, segment.to);
  }

  /** The mirror image: an instant at or before this one, from which on all up to it lie in the calendar. */
  excludedSince(instant: number): number {
    const segment = this.#zone.locate(instant);
    const wall = instant + segment.offset;
    const begin = this.#beginOf(wall);
    return Number.isNaN(begin) ? begin : Math.max(begin - segment.offset, segment.from);
  }

  #endOf(wall: number): number {
    const dated = this.#days.endOf(wall);
    if (!Number.isNaN(dated)) return dated;
    const second = secondOfWeek(wall);
    return this.#weekly.endOf(second) - second + wall;
  }

  #beginOf(wall: number): number {
    const dated = this.#days.beginOf(wall);
    if (!Number.isNaN(dated)) return dated;
    const second = secondOfWeek(wall);
    return this.#weekly.beginOf(second) - second + wall;
  }
}

/** Disjoint half-open intervals in ascending order. */
class Intervals {
  readonly #from: Float64Array;
  readonly #to: Float64Array;

  constructor(intervals: readonly (readonly [number, number])[]) {
    const merged: [number, number][] = [];
    for (const [from, to] of [...intervals].sort((a, b) => a[0] - b[0])) {
      const last = merged.at(-1);
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else merged.push([from, to]);
    }
    this.#from = Float64Array.from(merged, ([from]) => from);
    this.#to = Float64Array.from(merged, ([, to]) => to);
  }

  get first(): number {
    return this.#from[0] ?? Number.POSITIVE_INFINITY;
  }

  get last(): number {
    return this.#to.at(-1) ?? Number.NEGATIVE_INFINITY;
  }

  endOf(value: number): number {
    return this.#to[this.#indexOf(value)] ?? Number.NaN;
  }

  beginOf(value: number): number {
    return this.#from[this.#indexOf(value)] ?? Number.NaN;
  }

  #indexOf(value: number): number {
    let low = 0;
    let high = this.#from.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#to[middle]! <= value) low = middle + 1;
      else high = middle;
    }
    return low < this.#from.length && this.#from[low]! <= value ? low : -1;
  }
}

function secondOfWeek(wall: number): number {
  const day = Math.floor(wall / DAY_SECONDS);
  return weekdayOf(day) * DAY_SECONDS + (wall - day * DAY_SECONDS);
}

function fault(spec: ExclusionCalendarSpec, part: string, problem: string, advice: string): SpecError {
  return new SpecError({
    kind: 'MALFORMED',
    field: `exclusion calendar "${spec.name}", ${part}`,
    problem,
    advice,
  });
}

function dayIntervals(spec: ExclusionCalendarSpec): [number, number][] {
  const read = (text: string, part: string): number => {
    const day = parseDay(text);
    if (day === undefined) throw fault(spec, part, 'this is no date', 'give YYYY-MM-DD, such as 2026-12-25');
    return day;
  };
  const intervals: [number, number][] = [];
  (spec.dates ?? []).forEach((text, index) => {
    const day = read(text, `dates[${index}]`);
    intervals.push([day * DAY_SECONDS, (day + 1) * DAY_SECONDS]);
  });
  (spec.ranges ?? []).forEach((range, index) => {
    const from = read(range.from, `ranges[${index}].from`);
    const to = read(range.to, `ranges[${index}].to`);
    if (to < from)
      throw fault(spec, `ranges[${index}]`, 'it ends before it begins', 'put the earlier date first');
    intervals.push([from * DAY_SECONDS, (to + 1) * DAY_SECONDS]);
  });
  return intervals;
}

function weeklyIntervals(spec: ExclusionCalendarSpec): [number, number][] {
  const intervals: [number, number][] = [];
  (spec.weekly ?? []).forEach((weekly, index) => {
    const part = `weekly[${index}]`;
    const from = parseTimeOfDay(weekly.from ?? '00:00');
    const to = parseTimeOfDay(weekly.to ?? '24:00', true);
    if (from === undefined || to === undefined) {
      throw fault(
        spec,
        part,
        'this is no time of day',
        'give HH:MM or HH:MM:SS, and 24:00 for the end of the day',
      );
    }
    if (weekly.weekdays.length === 0)
      throw fault(spec, part, 'it has no weekday', 'give one or more of MON to SUN');
    for (const name of weekly.weekdays) {
      const weekday = weekdayNumber(name);
      if (weekday === undefined)
        throw fault(spec, part, 'this is no weekday', 'give MON, TUE, WED, THU, FRI, SAT or SUN');
      const begin = weekday * DAY_SECONDS + from;
      const end = weekday * DAY_SECONDS + to + (to <= from ? DAY_SECONDS : 0);
      intervals.push([begin, Math.min(end, WEEK_SECONDS)]);
      if (end > WEEK_SECONDS) intervals.push([0, end - WEEK_SECONDS]);
    }
  });
  return intervals;
}
