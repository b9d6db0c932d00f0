import { SpecError } from '../recurrence-error.ts';

/** The longest rate: 10,000 years, more than the calendar holds. */
export const MAX_RATE_SECONDS = 315_569_520_000;

const UNIT_SECONDS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, d: 86_400 };

/** Whether an expression is `@every …`, which is a rate. */
export function isEvery(expression: string): boolean {
  return /^[ \t]*@every(?![a-z])/i.test(expression);
}

/**
 * The seconds of `@every 1h30m`: hours, minutes and seconds as Go writes durations, and `d` for days of 24 hours.
 * Fractions and anything below one second are refused.
 */
export function parseEvery(expression: string): number {
  const text = expression.replace(/^[ \t]*@every/i, '');
  const column = expression.length - text.trimStart().length + 1;
  const duration = text.replace(/^[ \t]+|[ \t]+$/g, '');
  if (!/^[ \t]/.test(text) || !/^(?:[0-9]{1,12}[dhms])+$/.test(duration)) {
    const problem = /[.]|[nuµ]s$|ms$/.test(duration)
      ? 'a rate has whole seconds'
      : 'this is no duration of days, hours, minutes and seconds';
    throw fault(problem, column);
  }
  let seconds = 0;
  for (const [, count, unit] of duration.matchAll(/([0-9]+)([dhms])/g)) {
    seconds += Number(count) * UNIT_SECONDS[unit!]!;
  }
  if (seconds < 1) throw fault('a rate is at least one second', column);
  if (seconds > MAX_RATE_SECONDS) throw fault('the rate is longer than the calendar', column);
  return seconds;
}

function fault(problem: string, column: number): SpecError {
  const advice = 'write @every with a duration such as 30s, 5m or 1h30m';
  return new SpecError({ kind: 'MALFORMED', field: 'expression', column, problem, advice });
}
