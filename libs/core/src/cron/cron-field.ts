import type { CronDialect } from '../recurrence-spec.ts';

/** One field of a cron expression: its place in the language, not its content. */
export interface CronField {
  /** As error messages and hashes name it. */
  readonly name: 'second' | 'minute' | 'hour' | 'day-of-month' | 'month' | 'day-of-week' | 'year';
  readonly min: number;
  readonly max: number;
  /** How many different values there are: a step must be smaller. */
  readonly size: number;
  /** Names by their first three letters, lower case, and whole; undefined where the field has numbers only. */
  readonly names: ReadonlyMap<string, number> | undefined;
  /** What is valid in the field, for error messages. */
  readonly valid: string;
  /** What to use instead of a step that is too wide. */
  readonly insteadOfStep: string;
}

/** Month names in order. */
export const MONTHS: readonly string[] = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

/** Weekday names, Sunday first. */
export const WEEKDAYS: readonly string[] = [
  'Sunday',
  'Monday',
  'Tuesday',
  'Wednesday',
  'Thursday',
  'Friday',
  'Saturday',
];

/** First and last year of the AWS dialect. */
export const AWS_YEARS: { readonly min: number; readonly max: number } = { min: 1970, max: 2199 };

function names(list: readonly string[], first: number): ReadonlyMap<string, number> {
  const map = new Map<string, number>();
  list.forEach((name, index) => {
    map.set(name.toLowerCase(), first + index);
    map.set(name.slice(0, 3).toLowerCase(), first + index);
  });
  return map;
}

const NUMBERS = 'a list, a range (a-b), a step (*/n, a-b/n) or H';

const SECOND: CronField = {
  name: 'second',
  min: 0,
  max: 59,
  size: 60,
  names: undefined,
  valid: `give 0-59, *, ${NUMBERS}`,
  insteadOfStep: 'give a step of at most 59, or use a rate (every n seconds)',
};
const MINUTE: CronField = {
  name: 'minute',
  min: 0,
  max: 59,
  size: 60,
  names: undefined,
  valid: `give 0-59, *, ${NUMBERS}`,
  insteadOfStep: 'give a step of at most 59, use the hour field (0 */2), or use a rate (every n minutes)',
};
const HOUR: CronField = {
  name: 'hour',
  min: 0,
  max: 23,
  size: 24,
  names: undefined,
  valid: `give 0-23, *, ${NUMBERS}`,
  insteadOfStep:
    'give a step of at most 23, or use a rate (every n hours) or a calendar interval (every n days)',
};
const DAY_OF_MONTH: CronField = {
  name: 'day-of-month',
  min: 1,
  max: 31,
  size: 31,
  names: undefined,
  valid: `give 1-31, *, ?, L, L-n, LW, nW, ${NUMBERS}`,
  insteadOfStep: 'give a step of at most 30, or use a calendar interval (every n days)',
};
const MONTH: CronField = {
  name: 'month',
  min: 1,
  max: 12,
  size: 12,
  names: names(MONTHS, 1),
  valid: `give 1-12, JAN-DEC, *, ${NUMBERS}`,
  insteadOfStep: 'give a step of at most 11, name the month, or use a calendar interval (every n months)',
};
const DAY_OF_WEEK: CronField = {
  name: 'day-of-week',
  min: 0,
  max: 7,
  size: 7,
  names: names(WEEKDAYS, 0),
  valid: `give 0-7 (0 and 7 are Sunday), SUN-SAT, *, ?, dL (FRIL), d#n (MON#1), ${NUMBERS}`,
  insteadOfStep:
    'give a step of at most 6, name the day of the month (MON#1), or use a calendar interval (every n weeks)',
};
const AWS_DAY_OF_WEEK: CronField = {
  ...DAY_OF_WEEK,
  min: 1,
  max: 7,
  names: names(WEEKDAYS, 1),
  valid: `give 1-7 (1 is Sunday), SUN-SAT, *, ?, L, dL (FRIL), d#n (MON#1), ${NUMBERS}`,
};
const YEAR: CronField = {
  name: 'year',
  ...AWS_YEARS,
  size: AWS_YEARS.max - AWS_YEARS.min + 1,
  names: undefined,
  valid: `give ${AWS_YEARS.min}-${AWS_YEARS.max}, *, a list, a range (a-b) or a step (*/n, a-b/n)`,
  insteadOfStep: 'list the years, or use a calendar interval (every n years)',
};

/** The fields of each dialect, from left to right. */
export const DIALECT_FIELDS: Readonly<Record<CronDialect, readonly CronField[]>> = {
  STANDARD: [MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK],
  SECONDS: [SECOND, MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK],
  AWS: [MINUTE, HOUR, DAY_OF_MONTH, MONTH, AWS_DAY_OF_WEEK, YEAR],
};
