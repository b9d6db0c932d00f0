import type { ExclusionCalendarSpec } from './calendar-exclusion.ts';
import type { CalendarIntervalSpec } from './calendar-interval.ts';

/** How a cron expression is read: five fields; six with leading seconds; AWS's six with a trailing year. */
export type CronDialect = 'STANDARD' | 'SECONDS' | 'AWS';

/** What becomes of a nominal time that a spring change of the clocks leaves out; docs/recurrence.md has the rules. */
export type DstGap = 'AUTO' | 'NEXT_VALID' | 'SHIFT' | 'SKIP';

/** Which occurrence counts of a nominal time that an autumn change of the clocks repeats. */
export type DstOverlap = 'AUTO' | 'FIRST' | 'LAST' | 'BOTH';

/** A cron expression in a zone. */
export interface CronSpec {
  readonly kind: 'cron';
  readonly expression: string;
  /** Default `STANDARD`. */
  readonly dialect?: CronDialect | undefined;
  /** IANA name; default `UTC`. */
  readonly timeZone?: string | undefined;
  /** Default `AUTO`. */
  readonly dstGap?: DstGap | undefined;
  /** Default `AUTO`. */
  readonly dstOverlap?: DstOverlap | undefined;
  /** For `@every` alone, which is a rate: its anchor (see {@link RateSpec}); default 0, the epoch. */
  readonly anchor?: number | undefined;
}

/**
 * A fixed rate: elapsed time, which knows no zone. Its slots are `anchor + k * everySeconds` for every integer k,
 * also below 0: the anchor gives the phase, and a bound the beginning.
 */
export interface RateSpec {
  readonly kind: 'rate';
  /** Whole seconds, at least 1. */
  readonly everySeconds: number;
  /** One of the slots, in whole epoch seconds. It fixes the phase for ever. */
  readonly anchor: number;
}

/** One slot, at one instant. */
export interface OneShotSpec {
  readonly kind: 'at';
  /** Whole epoch seconds. */
  readonly at: number;
}

/** What yields the slots, before bounds and exclusions. */
export type RecurrencePattern = CronSpec | RateSpec | OneShotSpec | CalendarIntervalSpec;

/** The stretch of time in which slots count; both ends are inclusive. */
export interface RecurrenceBounds {
  /** Whole epoch seconds; default: no bound. */
  readonly start?: number | undefined;
  /** Whole epoch seconds; default: no bound. */
  readonly end?: number | undefined;
}

/** All that decides the slots of a schedule, but for its identity (which `H` is hashed from). */
export interface RecurrenceSpec {
  readonly pattern: RecurrencePattern;
  readonly bounds?: RecurrenceBounds | undefined;
  /** Slots that lie in any of these are none. */
  readonly exclusions?: readonly ExclusionCalendarSpec[] | undefined;
}
