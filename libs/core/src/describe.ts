import { CalendarPattern } from './calendar-pattern.ts';
import { MONTHS, WEEKDAYS } from './cron/cron-field.ts';
import { CronPattern } from './cron/cron-pattern.ts';
import { describeCron } from './cron/describe-cron.ts';
import { everyUnit, listWords, ordinal, ordinalWord } from './describe-words.ts';
import { OneShotSlots, RateSlots } from './recurrence-rate.ts';
import type { Slots } from './recurrence-slots.ts';
import type { RecurrenceBounds } from './recurrence-spec.ts';
import { UtcSlots, ZonedSlots } from './recurrence-wall.ts';
import {
  DAY_SECONDS,
  dayOf,
  formatDay,
  formatTimeOfDay,
  formatWall,
  monthOf,
  packedDate,
} from './zone/civil-date.ts';
import type { WallPattern } from './zone/wall-pattern.ts';

const UNITS: readonly (readonly [string, number])[] = [
  ['week', 7 * DAY_SECONDS],
  ['day', DAY_SECONDS],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/**
 * A plain English phrase for the slots of a pattern, their bounds and the names of the calendars they are under.
 * Lower case at its start, no full stop.
 */
export function describeRecurrence(
  slots: Slots,
  bounds: RecurrenceBounds | undefined,
  names: readonly string[],
): string {
  const parts = [describeSlots(slots)];
  const { start, end } = bounds ?? {};
  if (start !== undefined) parts.push(`from ${describeInstant(start)}`);
  if (end !== undefined) parts.push(`until ${describeInstant(end)}`);
  if (names.length > 0) parts.push(`except in ${listWords(names)}`);
  return parts.join(', ');
}

function describeSlots(slots: Slots): string {
  if (slots instanceof UtcSlots) return `${describePattern(slots.pattern)} in UTC`;
  if (slots instanceof ZonedSlots) return `${describePattern(slots.pattern)} in ${slots.zone.name}`;
  if (slots instanceof RateSlots) {
    return `${describeDuration(slots.every)}, counted from ${describeInstant(slots.anchor)}`;
  }
  if (slots instanceof OneShotSlots) return `once at ${describeInstant(slots.at)}`;
  throw new TypeError('these slots have no description');
}

function describePattern(pattern: WallPattern): string {
  if (pattern instanceof CronPattern) return describeCron(pattern);
  if (pattern instanceof CalendarPattern) return describeCalendar(pattern);
  throw new TypeError('this pattern has no description');
}

function describeInstant(instant: number): string {
  return `${formatWall(instant)}Z`;
}

/** `every 90 minutes`, in the largest unit that divides it. */
function describeDuration(seconds: number): string {
  const [unit, size] = UNITS.find(([, size]) => seconds % size === 0)!;
  return everyUnit(seconds / size, unit);
}

function describeCalendar({ fields }: CalendarPattern): string {
  const unit = fields.unit.toLowerCase();
  const at = `at ${listWords([...fields.times].map(formatTimeOfDay))}`;
  const from = `, counted from ${formatDay(fields.start)}`;
  const counted = fields.every === 1 ? '' : from;
  const rhythm = everyUnit(fields.every, unit);
  switch (fields.unit) {
    case 'DAY':
      return `${rhythm} ${at}${counted}`;
    case 'WEEK': {
      const weekdays = [1, 2, 3, 4, 5, 6, 0].filter((weekday) => ((fields.weekdays ?? 0) >> weekday) & 1);
      return `${rhythm} on ${listWords(weekdays.map((weekday) => WEEKDAYS[weekday]!))} ${at}${counted}`;
    }
    case 'MONTH':
      return `${rhythm} on ${describeDay(fields)} ${at}${counted}`;
    case 'YEAR': {
      const month = MONTHS[(fields.month ?? monthOf(packedDate(fields.start))) - 1]!;
      return `${rhythm} on ${describeDay(fields)} of ${month} ${at}${counted}`;
    }
  }
}

function describeDay(fields: CalendarPattern['fields']): string {
  const { weekday, nth } = fields.choice ?? { weekday: undefined, nth: dayOf(packedDate(fields.start)) };
  if (weekday === undefined) {
    if (nth > 0) return `the ${ordinal(nth)}`;
    return nth === -1 ? 'the last day' : `the ${ordinal(-nth)} to last day`;
  }
  const name = WEEKDAYS[weekday]!;
  if (nth > 0) return `the ${ordinalWord(nth)} ${name}`;
  return nth === -1 ? `the last ${name}` : `the ${ordinal(-nth)} to last ${name}`;
}
