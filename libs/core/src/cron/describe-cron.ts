import { everyUnit, listWords, numberRuns, ordinal, ordinalWord } from '../describe-words.ts';
import { formatTimeOfDay } from '../zone/civil-date.ts';
import { AWS_YEARS, MONTHS, WEEKDAYS } from './cron-field.ts';
import type { CronFields } from './cron-pattern.ts';
import type { DayRule } from './day-table.ts';

// More times of day than this are described by their fields, not one by one.
const MAX_TIMES = 6;
const ALL_MONTHS = 0x1ffe;
const ALL_DAYS = -2;
const ALL_WEEKDAYS = 0x7f;
const WORKDAYS = 0x3e;
const WEEKEND = 0x41;

/** A phrase for a compiled expression, without its zone: "every weekday at 09:00". */
export function describeCron(fields: CronFields): string {
  const time = describeTimes(fields);
  const days = describeDays(fields);
  if (days === undefined) return time.at ? `every day ${time.text}` : time.text;
  return time.at ? `${days} ${time.text}` : `${days}, ${time.text}`;
}

function bits(mask: number, from: number, to: number): number[] {
  const values: number[] = [];
  for (let value = from; value <= to; value++) if ((mask >>> value) & 1) values.push(value);
  return values;
}

function bits60(low: number, high: number): number[] {
  return [...bits(low, 0, 29), ...bits(high, 0, 29).map((value) => value + 30)];
}

interface TimePhrase {
  readonly text: string;
  /** Whether it names times ("at 09:00"), rather than a rhythm ("every 5 minutes"). */
  readonly at: boolean;
}

function describeTimes(fields: CronFields): TimePhrase {
  const seconds = bits60(fields.secondsLow, fields.secondsHigh);
  const minutes = bits60(fields.minutesLow, fields.minutesHigh);
  const hours = bits(fields.hours, 0, 23);
  if (hours.length * minutes.length * seconds.length <= MAX_TIMES) {
    const times = hours.flatMap((h) => minutes.flatMap((m) => seconds.map((s) => h * 3600 + m * 60 + s)));
    return { text: `at ${listWords(times.map(formatTimeOfDay))}`, at: true };
  }
  const onTheMinute = seconds.length === 1 && seconds[0] === 0;
  if (!onTheMinute) {
    const parts = [rhythm(seconds, 60, 'second')];
    if (minutes.length < 60) parts.push(`in ${within(minutes, 60, 'minute')}`);
    if (hours.length < 24) parts.push(hoursPhrase(hours));
    return { text: parts.join(' '), at: false };
  }
  if (minutes.length === 1) return describeHourly(minutes[0]!, hours);
  const text = rhythm(minutes, 60, 'minute');
  if (hours.length === 24) return { text, at: false };
  const run = hours.at(-1)! - hours[0]! === hours.length - 1;
  if (!run || stepOf(minutes, 60) === undefined) return { text: `${text} ${hoursPhrase(hours)}`, at: false };
  const first = formatTimeOfDay(hours[0]! * 3600 + minutes[0]! * 60);
  const last = formatTimeOfDay(hours.at(-1)! * 3600 + minutes.at(-1)! * 60);
  const step = stepOf(minutes, 60)!;
  return { text: `${everyUnit(step, 'minute')} from ${first} to ${last}`, at: false };
}

function describeHourly(minute: number, hours: readonly number[]): TimePhrase {
  const step = stepOf(hours, 24);
  const when = minute === 0 ? '' : ` at minute ${minute}`;
  if (hours.length === 24) return { text: `every hour${when}`, at: false };
  if (step !== undefined && 24 % step === 0 && hours.length === 24 / step) {
    const from = formatTimeOfDay(hours[0]! * 3600 + minute * 60);
    return {
      text: `${everyUnit(step, 'hour')}${hours[0] === 0 && minute === 0 ? '' : ` from ${from}`}`,
      at: false,
    };
  }
  if (step !== undefined) {
    const [first, last] = [hours[0]!, hours.at(-1)!].map((hour) =>
      formatTimeOfDay(hour * 3600 + minute * 60),
    );
    return { text: `${everyUnit(step, 'hour')} from ${first} to ${last}`, at: false };
  }
  return { text: `at minute ${minute} ${hoursPhrase(hours)}`, at: false };
}

/** The distance between values that are evenly spaced, at least three of them. */
function stepOf(values: readonly number[], size: number): number | undefined {
  if (values.length < 3)
    return values.length === 2 && (values[1]! - values[0]!) * 2 === size ? size / 2 : undefined;
  const step = values[1]! - values[0]!;
  return values.every((value, index) => value === values[0]! + index * step) ? step : undefined;
}

/** `every 5 minutes`, `at minutes 1, 2 and 40`. */
function rhythm(values: readonly number[], size: number, unit: string): string {
  const step = stepOf(values, size);
  if (step === undefined || values.length === 1) return `at ${within(values, size, unit)}`;
  const whole = values[0]! < step && values.at(-1)! + step >= size;
  if (whole && values[0] === 0 && size % step === 0) return everyUnit(step, unit);
  if (whole && size % step === 0) return `${everyUnit(step, unit)} from ${unit} ${values[0]!}`;
  return `${everyUnit(step, unit)} from ${unit} ${values[0]!} to ${values.at(-1)!}`;
}

function within(values: readonly number[], size: number, unit: string): string {
  if (values.length === size) return `every ${unit}`;
  const words = numberRuns(values);
  return `${unit}${values.length === 1 ? '' : 's'} ${listWords(words)}`;
}

function hoursPhrase(hours: readonly number[]): string {
  return `in ${hours.length === 1 ? 'hour' : 'hours'} ${listWords(numberRuns(hours))}`;
}

/** The day, month and year fields; undefined when every day matches. */
function describeDays(fields: CronFields): string | undefined {
  const { rule } = fields.days;
  const months = fields.months === ALL_MONTHS ? undefined : bits(fields.months, 1, 12);
  const years = describeYears(fields.years);
  const anyDate = matchesEveryDate(rule);
  const anyWeekday = matchesEveryWeekday(rule);
  const monthWords = months ? listWords(numberRuns(months, (month) => MONTHS[month - 1]!)) : undefined;
  const tail = years === undefined ? '' : ` in ${years}`;
  if (rule.either ? anyDate || anyWeekday : anyDate && anyWeekday) {
    if (monthWords === undefined) return years === undefined ? undefined : `every day${tail}`;
    return `every day in ${monthWords}${tail}`;
  }
  if (anyDate && !rule.either) {
    return `${weekdayPhrase(rule, monthWords)}${tail}`;
  }
  const ofMonth = ` of ${monthWords ?? 'every month'}${tail}`;
  const dates = `on ${listWords(dateWords(rule))}`;
  if (anyWeekday && !rule.either) return `${dates}${ofMonth}`;
  if (rule.either) return `${dates}${ofMonth} and on ${listWords(weekdayWords(rule, 'every'))}`;
  return `${dates}${ofMonth} if it is ${listWords(weekdayWords(rule, 'a'), 'or')}`;
}

function matchesEveryDate(rule: DayRule): boolean {
  return rule.days === ALL_DAYS;
}

function matchesEveryWeekday(rule: DayRule): boolean {
  return rule.weekdays === ALL_WEEKDAYS;
}

function weekdayPhrase(rule: DayRule, months: string | undefined): string {
  const counted = rule.lastWeekdays !== 0 || rule.nthWeekdays !== 0 || rule.fifthWeekdays !== 0;
  if (counted) return `on ${listWords(weekdayWords(rule, 'every'))} of ${months ?? 'every month'}`;
  const inMonths = months === undefined ? '' : ` in ${months}`;
  if (rule.weekdays === WORKDAYS) return `every weekday${inMonths}`;
  return `every ${listWords(weekdayNames(rule.weekdays))}${inMonths}`;
}

function weekdayNames(mask: number): string[] {
  if (mask === WEEKEND) return ['Saturday', 'Sunday'];
  const mondayFirst = [1, 2, 3, 4, 5, 6, 0].filter((weekday) => (mask >> weekday) & 1);
  return mondayFirst.map((weekday) => WEEKDAYS[weekday]!);
}

function weekdayWords(rule: DayRule, article: 'a' | 'every'): string[] {
  const plain = rule.weekdays === WORKDAYS ? ['weekday'] : weekdayNames(rule.weekdays);
  const words = plain.map((name) => `${article} ${name}`);
  for (let nth = 1; nth <= 5; nth++) {
    const mask = nth === 5 ? rule.fifthWeekdays : (rule.nthWeekdays >>> ((nth - 1) * 7)) & ALL_WEEKDAYS;
    for (const name of weekdayNames(mask)) words.push(`the ${ordinalWord(nth)} ${name}`);
  }
  for (const name of weekdayNames(rule.lastWeekdays)) words.push(`the last ${name}`);
  return words;
}

function dateWords(rule: DayRule): string[] {
  const days = bits(rule.days, 1, 31);
  const step = days.length > 3 ? stepOf(days, 31) : undefined;
  const runs =
    step !== undefined && step > 1
      ? [`every ${ordinal(step)} day from the ${ordinal(days[0]!)} to the ${ordinal(days.at(-1)!)}`]
      : numberRuns(days, ordinal).map((run) => `the ${run}`);
  const nearest = bits(rule.nearestWeekdays, 1, 31).map((day) => `the weekday nearest the ${ordinal(day)}`);
  const nearestFromEnd = bits(rule.nearestWeekdaysFromEnd, 0, 30).map((n) =>
    n === 0 ? 'the last weekday' : `the weekday nearest the day ${everyDaysBefore(n)} the last day`,
  );
  const fromEnd = bits(rule.daysFromEnd, 0, 30).map((n) =>
    n === 0 ? 'the last day' : `the day ${everyDaysBefore(n)} the last day`,
  );
  return [...runs, ...nearest, ...fromEnd, ...nearestFromEnd];
}

function everyDaysBefore(n: number): string {
  return n === 1 ? '1 day before' : `${n} days before`;
}

function describeYears(years: Uint8Array | undefined): string | undefined {
  if (years === undefined || years.every((present) => present === 1)) return undefined;
  const list = [...years.keys()].filter((index) => years[index] === 1).map((index) => AWS_YEARS.min + index);
  return listWords(numberRuns(list));
}
