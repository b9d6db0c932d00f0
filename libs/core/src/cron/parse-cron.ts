import { SpecError } from '../recurrence-error.ts';
import type { CronDialect } from '../recurrence-spec.ts';
import { type CronField, DIALECT_FIELDS } from './cron-field.ts';
import type { CronFields } from './cron-pattern.ts';
import { dayTable } from './day-table.ts';
import type { FieldValues } from './field-values.ts';
import { parseField } from './parse-field.ts';

/** No expression is longer: a list of every value of every field has about 1,900 characters. */
export const MAX_EXPRESSION_LENGTH = 2048;

const NICKNAMES: ReadonlyMap<string, string> = new Map([
  ['@yearly', '0 0 1 1 *'],
  ['@annually', '0 0 1 1 *'],
  ['@monthly', '0 0 1 * *'],
  ['@weekly', '0 0 * * 0'],
  ['@daily', '0 0 * * *'],
  ['@midnight', '0 0 * * *'],
  ['@hourly', '0 * * * *'],
]);

const NICKNAME_ADVICE =
  'use @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or @every with a duration such as 1h30m';

interface Word {
  readonly text: string;
  /** 1-based. */
  readonly column: number;
}

/**
 * Reads a cron expression of a dialect; `identity` is what `H` is hashed from. `@every` is a rate, not a cron
 * expression: see `parseEvery`. Throws {@link SpecError} of kind `MALFORMED`.
 */
export function parseCron(expression: string, dialect: CronDialect, identity: string): CronFields {
  if (expression.length > MAX_EXPRESSION_LENGTH) {
    fail(
      MAX_EXPRESSION_LENGTH + 1,
      'the expression is too long',
      `give at most ${MAX_EXPRESSION_LENGTH} characters`,
    );
  }
  const words = split(expression);
  const first = words[0];
  if (first === undefined) fail(1, 'the expression is empty', shapeOf(dialect));
  if (first.text.startsWith('@')) return parseNickname(first, words, dialect, identity);
  refusePrefixes(first);
  const fields = DIALECT_FIELDS[dialect];
  if (words.length !== fields.length) refuseCount(words, dialect, expression.length + 1);
  const values = words.map(({ text, column }, index) =>
    parseField({ field: fields[index]!, dialect, text, column, identity }),
  );
  return combine(dialect, values, words);
}

/** Splits at runs of blanks and tabs, keeping the columns. */
function split(expression: string): Word[] {
  const words: Word[] = [];
  for (const match of expression.matchAll(/[^ \t]+/g))
    words.push({ text: match[0], column: match.index + 1 });
  return words;
}

function parseNickname(
  nickname: Word,
  words: readonly Word[],
  dialect: CronDialect,
  identity: string,
): CronFields {
  const expansion = NICKNAMES.get(nickname.text.toLowerCase());
  if (dialect === 'AWS') fail(nickname.column, 'the AWS dialect has no nicknames', shapeOf(dialect));
  if (expansion === undefined) fail(nickname.column, 'this nickname is not known', NICKNAME_ADVICE);
  const extra = words[1];
  if (extra)
    fail(extra.column, 'a nickname stands alone', `write ${nickname.text.toLowerCase()} and nothing else`);
  return parseCron(expansion, 'STANDARD', identity);
}

function refusePrefixes(first: Word): void {
  if (/^(?:CRON_)?TZ=/i.test(first.text)) {
    fail(first.column, 'a zone prefix is not part of an expression', 'give the zone in the time zone field');
  }
  if (/^(?:cron|rate|at)\(/i.test(first.text)) {
    fail(
      first.column,
      'the wrapper around the expression is not part of it',
      'write what is inside the parentheses',
    );
  }
}

function refuseCount(words: readonly Word[], dialect: CronDialect, end: number): never {
  const count = words.length;
  const expected = DIALECT_FIELDS[dialect].length;
  const column = words[expected]?.column ?? end;
  const problem = `${count} field${count === 1 ? '' : 's'} where ${dialect} has ${expected}`;
  if (dialect === 'STANDARD' && count === 6) {
    fail(
      column,
      'six fields are ambiguous',
      'name the dialect: SECONDS for leading seconds, AWS for a trailing year; or leave one field out',
    );
  }
  fail(column, problem, shapeOf(dialect));
}

function shapeOf(dialect: CronDialect): string {
  return `${dialect} is "${DIALECT_FIELDS[dialect].map((field) => field.name).join(' ')}"`;
}

function combine(dialect: CronDialect, values: readonly FieldValues[], words: readonly Word[]): CronFields {
  const byName = new Map<CronField['name'], FieldValues>();
  for (const value of values) byName.set(value.field.name, value);
  const minutes = byName.get('minute')!;
  const hours = byName.get('hour')!;
  const days = byName.get('day-of-month')!;
  const months = byName.get('month')!;
  const weekdays = byName.get('day-of-week')!;
  const seconds = byName.get('second');
  const years = byName.get('year');
  if (dialect === 'AWS') checkQuestionMarks(days, weekdays, words);
  return {
    secondsLow: seconds ? seconds.mask(0, 29) : 1,
    secondsHigh: seconds ? seconds.mask(30, 59) : 0,
    minutesLow: minutes.mask(0, 29),
    minutesHigh: minutes.mask(30, 59),
    hours: hours.mask(0, 23),
    months: months.mask(1, 12) << 1,
    days: dayTable({
      either: !days.unrestricted && !weekdays.unrestricted,
      days: days.mask(1, 31) << 1,
      daysFromEnd: days.daysFromEnd,
      nearestWeekdays: days.nearestWeekdays,
      nearestWeekdaysFromEnd: days.nearestWeekdaysFromEnd,
      weekdays: weekdays.mask(weekdays.field.min, weekdays.field.min + 6),
      lastWeekdays: weekdays.lastWeekdays,
      nthWeekdays: weekdays.nthWeekdays,
      fifthWeekdays: weekdays.fifthWeekdays,
    }),
    years: years?.present,
    fixedTimes: !(seconds?.isInterval || minutes.isInterval || hours.isInterval),
  };
}

function checkQuestionMarks(days: FieldValues, weekdays: FieldValues, words: readonly Word[]): void {
  if (days.isQuestionMark !== weekdays.isQuestionMark) return;
  const problem = days.isQuestionMark ? 'both day fields are ?' : 'neither day field is ?';
  throw new SpecError({
    kind: 'MALFORMED',
    field: 'day-of-week',
    column: words[4]!.column,
    problem,
    advice: 'in the AWS dialect exactly one of day-of-month and day-of-week is ?',
  });
}

function fail(column: number, problem: string, advice: string): never {
  throw new SpecError({ kind: 'MALFORMED', field: 'expression', column, problem, advice });
}
