/** The two day fields of a cron expression. Masks count days of the month from bit 1, weekdays from bit 0 (Sunday). */
export interface DayRule {
  /** True when a day needs to match one field only: both are restricted. Otherwise it must match both. */
  readonly either: boolean;
  /** Days of the month. */
  readonly days: number;
  /** `L-n`: bit n. */
  readonly daysFromEnd: number;
  /** `nW`: bit n. */
  readonly nearestWeekdays: number;
  /** `L-nW`: bit n; `LW` is bit 0. */
  readonly nearestWeekdaysFromEnd: number;
  /** Weekdays. */
  readonly weekdays: number;
  /** `dL`: the last such weekday of the month. */
  readonly lastWeekdays: number;
  /** `d#n`: bit (n - 1) * 7 + d, in two numbers since 35 bits are more than an integer holds: n 1 to 4, and n 5. */
  readonly nthWeekdays: number;
  readonly fifthWeekdays: number;
}

/**
 * Everything the day fields can say depends on the length of a month and the weekday of its first day alone: so
 * there are 28 answers, each a mask of days (bit 1 to bit 31), at `(length - 28) * 7 + weekday of the first`.
 */
export class DayTable {
  readonly rule: DayRule;
  readonly masks: Int32Array;
  /** A small number that equal rules share, for the key of a pattern. */
  readonly id: number;

  constructor(rule: DayRule, id: number) {
    this.rule = rule;
    this.id = id;
    this.masks = new Int32Array(28);
    for (let length = 28; length <= 31; length++) {
      for (let first = 0; first < 7; first++) {
        this.masks[(length - 28) * 7 + first] = daysOfMonth(rule, length, first);
      }
    }
  }

  /** Whether any day of a month of one of these lengths can match, wherever its first day falls. */
  matchesSomeDay(shortest: number, longest: number): boolean {
    return this.masks.subarray((shortest - 28) * 7, (longest - 27) * 7).some((mask) => mask !== 0);
  }
}

function daysOfMonth(rule: DayRule, length: number, first: number): number {
  let byDate = rule.days;
  for (let n = 0; n <= 30; n++) {
    const fromEnd = length - n;
    if ((rule.daysFromEnd >>> n) & 1 && fromEnd >= 1) byDate |= 1 << fromEnd;
    if ((rule.nearestWeekdaysFromEnd >>> n) & 1 && fromEnd >= 1)
      byDate |= 1 << nearest(fromEnd, length, first);
    const day = n + 1;
    if ((rule.nearestWeekdays >>> day) & 1 && day <= length) byDate |= 1 << nearest(day, length, first);
  }
  let mask = 0;
  for (let day = 1; day <= length; day++) {
    const weekday = (first + day - 1) % 7;
    const nth = Math.floor((day - 1) / 7);
    const nthMatches = nth < 4 ? rule.nthWeekdays >>> (nth * 7 + weekday) : rule.fifthWeekdays >>> weekday;
    const lastMatches = day + 7 > length ? rule.lastWeekdays >>> weekday : 0;
    const onWeekday = ((rule.weekdays >>> weekday) | nthMatches | lastMatches) & 1;
    const onDate = (byDate >>> day) & 1;
    if (rule.either ? onDate | onWeekday : onDate & onWeekday) mask |= 1 << day;
  }
  return mask;
}

/** The Monday-to-Friday nearest to a day, without leaving the month. */
function nearest(day: number, length: number, first: number): number {
  const weekday = (first + day - 1) % 7;
  if (weekday === 6) return day > 1 ? day - 1 : day + 2;
  if (weekday === 0) return day < length ? day + 1 : day - 2;
  return day;
}

// Few schedules differ in their day fields: the tables are shared, and kept for the life of the process only while
// they are few. Beyond that a table belongs to its pattern alone.
const MAX_SHARED = 4096;
const shared = new Map<string, DayTable>();
let lastId = 0;

/** The table of a rule; equal rules share one. */
export function dayTable(rule: DayRule): DayTable {
  const key = [
    rule.either ? 1 : 0,
    rule.days,
    rule.daysFromEnd,
    rule.nearestWeekdays,
    rule.nearestWeekdaysFromEnd,
    rule.weekdays,
    rule.lastWeekdays,
    rule.nthWeekdays,
    rule.fifthWeekdays,
  ].join();
  const known = shared.get(key);
  if (known !== undefined) return known;
  lastId++;
  const table = new DayTable(rule, lastId);
  if (shared.size < MAX_SHARED) shared.set(key, table);
  return table;
}
