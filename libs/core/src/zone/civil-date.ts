/**
 * The proleptic Gregorian calendar on whole days since 1970-01-01, for the years 1 to 9999: those a protobuf
 * Timestamp can hold, and the range in which every recurrence has its slots.
 */

/** 0001-01-01T00:00:00Z in epoch seconds: the first instant that can be a slot. */
export const FIRST_INSTANT = -62_135_596_800;
/** 9999-12-31T23:59:59Z in epoch seconds: the last instant that can be a slot. */
export const LAST_INSTANT = 253_402_300_799;
/** Seconds of a day without a change of the clocks. */
export const DAY_SECONDS = 86_400;

/** The day number of 0001-01-01. */
export const FIRST_DAY = -719_162;
/** The day number of 9999-12-31. */
export const LAST_DAY = 2_932_896;

// Days between 0000-03-01, where the 400-year cycle of this calendar is cut most simply, and 1970-01-01.
const CYCLE_ORIGIN = 719_468;
const CYCLE_DAYS = 146_097;

/** The day number of a date; `month` 1 to 12, and `day` may run over the end of the month. */
export function dayOfDate(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = (y / 400) | 0;
  const yearOfEra = y - era * 400;
  const monthFromMarch = month <= 2 ? month + 9 : month - 3;
  const dayOfYear = (((153 * monthFromMarch + 2) / 5) | 0) + day - 1;
  const dayOfEra = yearOfEra * 365 + (yearOfEra >> 2) - ((yearOfEra / 100) | 0) + dayOfYear;
  return era * CYCLE_DAYS + dayOfEra - CYCLE_ORIGIN;
}

/**
 * The date of a day number as one integer, `year * 512 + month * 32 + day`, so that the hot path allocates
 * nothing; see {@link yearOf}, {@link monthOf} and {@link dayOf}. `day` from {@link FIRST_DAY} to {@link LAST_DAY}.
 */
export function packedDate(day: number): number {
  const z = (day + CYCLE_ORIGIN) | 0;
  const era = (z / CYCLE_DAYS) | 0;
  const dayOfEra = (z - era * CYCLE_DAYS) | 0;
  const yearOfEra =
    ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) / 365) | 0;
  const dayOfYear = dayOfEra - (365 * yearOfEra + (yearOfEra >> 2) - ((yearOfEra / 100) | 0));
  const monthFromMarch = ((5 * dayOfYear + 2) / 153) | 0;
  const dayOfMonth = dayOfYear - (((153 * monthFromMarch + 2) / 5) | 0) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return (year << 9) | (month << 5) | dayOfMonth;
}

/** The year of a packed date. */
export function yearOf(packed: number): number {
  return packed >> 9;
}

/** The month, 1 to 12, of a packed date. */
export function monthOf(packed: number): number {
  return (packed >> 5) & 15;
}

/** The day of the month, 1 to 31, of a packed date. */
export function dayOf(packed: number): number {
  return packed & 31;
}

/** Whether the year has a 29 February. */
export function isLeapYear(year: number): boolean {
  return (year & 3) === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** The number of days, 28 to 31, of a month. */
export function monthLength(year: number, month: number): number {
  if (month === 2) return isLeapYear(year) ? 29 : 28;
  // 30 days have April, June, September and November.
  return 30 | (month ^ (month >> 3));
}

/** The weekday of a day number: 0 is Sunday, 6 is Saturday. */
export function weekdayOf(day: number): number {
  // 719_159 is a multiple of 7, and with the 4 for the Thursday of 1970-01-01 keeps the dividend positive.
  return (day + 719_159 + 4) % 7;
}

function digits(value: number, width: number): string {
  return String(value).padStart(width, '0');
}

/** A day number as `YYYY-MM-DD`. */
export function formatDay(day: number): string {
  const date = packedDate(day);
  return `${digits(yearOf(date), 4)}-${digits(monthOf(date), 2)}-${digits(dayOf(date), 2)}`;
}

/** Seconds since midnight as `HH:MM`, or `HH:MM:SS` where the seconds are not 0. */
export function formatTimeOfDay(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  const text = `${digits(Math.floor(minutes / 60), 2)}:${digits(minutes % 60, 2)}`;
  return seconds % 60 === 0 ? text : `${text}:${digits(seconds % 60, 2)}`;
}

/** Wall-clock seconds (local time counted as if it were UTC) as `YYYY-MM-DDTHH:MM:SS`. */
export function formatWall(wall: number): string {
  const day = Math.floor(wall / DAY_SECONDS);
  const seconds = wall - day * DAY_SECONDS;
  const time = formatTimeOfDay(seconds);
  return `${formatDay(day)}T${time.length === 5 ? `${time}:00` : time}`;
}

/** Reads `YYYY-MM-DD` (years 0001 to 9999); undefined when it is no date of this calendar. */
export function parseDay(text: string): number | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (!match) return undefined;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > monthLength(year, month)) return undefined;
  return dayOfDate(year, month, day);
}

/**
 * Reads `HH:MM` or `HH:MM:SS` as seconds since midnight; undefined when it is no time of day. `24:00` is
 * accepted as the end of the day only where `endOfDay` says so.
 */
export function parseTimeOfDay(text: string, endOfDay = false): number | undefined {
  const match = /^(\d{2}):(\d{2})(?::(\d{2}))?$/.exec(text);
  if (!match) return undefined;
  const [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  if (endOfDay && hour === 24 && minute === 0 && second === 0) return DAY_SECONDS;
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  return hour * 3600 + minute * 60 + second;
}
