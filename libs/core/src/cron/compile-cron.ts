import { SpecError } from '../recurrence-error.ts';
import { InternTable } from '../recurrence-intern.ts';
import type { CronDialect } from '../recurrence-spec.ts';
import { CronPattern } from './cron-pattern.ts';
import { parseCron } from './parse-cron.ts';

const patterns = new InternTable<CronPattern>();

/**
 * Compiles an expression; all expressions of one meaning share one pattern. Throws {@link SpecError}, of kind
 * `NEVER_FIRES` for one that no date matches.
 */
export function compileCron(expression: string, dialect: CronDialect, identity: string): CronPattern {
  const fields = parseCron(expression, dialect, identity);
  const key = [
    fields.secondsLow,
    fields.secondsHigh,
    fields.minutesLow,
    fields.minutesHigh,
    fields.hours,
    fields.months,
    fields.days.id,
    fields.fixedTimes ? 1 : 0,
    fields.years?.join('') ?? '',
  ].join();
  return patterns.intern(key, () => {
    const pattern = new CronPattern(fields);
    if (pattern.fires) return pattern;
    throw new SpecError({
      kind: 'NEVER_FIRES',
      field: fields.years === undefined ? 'day-of-month' : 'year',
      problem: 'no date matches the day, month and year fields together',
      advice: 'choose a day that the months and years named do have, such as L for the last day of a month',
    });
  });
}

/** Whether an expression uses `H`, so that what it means depends on the schedule's identity. */
export function usesIdentity(expression: string): boolean {
  return /(?:^|[ \t,])h/i.test(expression);
}
