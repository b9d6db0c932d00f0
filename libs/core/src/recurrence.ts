import { ExclusionCalendar, type ExclusionCalendarSpec } from './calendar-exclusion.ts';
import { compileCalendarInterval } from './calendar-interval.ts';
import { compileCron, usesIdentity } from './cron/compile-cron.ts';
import { isEvery, MAX_RATE_SECONDS, parseEvery } from './cron/parse-every.ts';
import { describeRecurrence } from './describe.ts';
import { BoundedSlots, UnexcludedSlots } from './recurrence-bounded.ts';
import { SpecError } from './recurrence-error.ts';
import { InternTable } from './recurrence-intern.ts';
import { isInstant, OneShotSlots, RateSlots } from './recurrence-rate.ts';
import { type Slots, slotsBetween } from './recurrence-slots.ts';
import type {
  CronDialect,
  DstGap,
  DstOverlap,
  RecurrenceBounds,
  RecurrencePattern,
  RecurrenceSpec,
} from './recurrence-spec.ts';
import { type DstEffect, UtcSlots, ZonedSlots } from './recurrence-wall.ts';
import type { WallPattern } from './zone/wall-pattern.ts';
import { findZone } from './zone/zone.ts';

/**
 * The slots of a schedule: instants in whole epoch seconds, UTC, before jitter. Immutable; equal specs share one.
 * `t`, `a` and `b` are epoch seconds, whole or not, also infinite; NaN is a RangeError.
 */
export interface Recurrence extends Slots {
  /** The zone its local times are in; `UTC` for rates and one-shots. */
  readonly timeZone: string;
  /** The slots within the bounds, before calendars take some away. */
  readonly beforeExclusions: Slots;
  /** The calendars that take slots away. */
  readonly exclusions: readonly ExclusionCalendar[];
  /** The smallest slot greater than `t`; +Infinity when there is none. */
  next(t: number): number;
  /** The greatest slot smaller than `t`; -Infinity when there is none. */
  previous(t: number): number;
  /** The slots in `(a, b]` in ascending order, lazily, at most `limit` (default: all). */
  between(a: number, b: number, limit?: number): Iterable<number>;
  /** Whether `t` is a slot. */
  isSlot(t: number): boolean;
  /** What a change of the clocks has to do with a slot of {@link beforeExclusions}. */
  dstEffect(slot: number): DstEffect;
  /** A plain English phrase, such as "every weekday at 09:00 in Europe/Berlin". */
  describe(): string;
}

const NO_EXCLUSIONS: readonly ExclusionCalendar[] = [];

class CompiledRecurrence implements Recurrence {
  readonly timeZone: string;
  readonly beforeExclusions: Slots;
  readonly exclusions: readonly ExclusionCalendar[];
  readonly #slots: Slots;
  readonly #pattern: Slots;
  readonly #bounds: RecurrenceBounds | undefined;

  constructor(spec: RecurrenceSpec, pattern: Slots) {
    this.#bounds = spec.bounds;
    this.#pattern = pattern;
    this.timeZone = pattern instanceof ZonedSlots ? pattern.zone.name : 'UTC';
    this.exclusions = spec.exclusions?.map(sharedCalendar) ?? NO_EXCLUSIONS;
    this.beforeExclusions = bound(pattern, spec.bounds);
    this.#slots =
      this.exclusions.length > 0
        ? new UnexcludedSlots(this.beforeExclusions, this.exclusions)
        : this.beforeExclusions;
  }

  next(t: number): number {
    return this.#slots.next(t);
  }

  previous(t: number): number {
    return this.#slots.previous(t);
  }

  between(a: number, b: number, limit?: number): Iterable<number> {
    return slotsBetween(this.#slots, a, b, limit);
  }

  isSlot(t: number): boolean {
    return Number.isInteger(t) && this.#slots.next(t - 1) === t;
  }

  dstEffect(slot: number): DstEffect {
    return this.#pattern instanceof ZonedSlots ? this.#pattern.effectAt(slot) : 'NONE';
  }

  describe(): string {
    const names = this.exclusions.map((calendar) => calendar.name);
    return describeRecurrence(this.#pattern, this.#bounds, names);
  }
}

const calendars = new InternTable<ExclusionCalendar>();

/** Many schedules are under few calendars. */
function sharedCalendar(spec: ExclusionCalendarSpec): ExclusionCalendar {
  return calendars.intern(JSON.stringify(spec), () => new ExclusionCalendar(spec));
}

const recurrences = new InternTable<CompiledRecurrence>();

/**
 * Compiles a spec. `identity` is the schedule's (`project/domain/name`), which `H` is hashed from; a spec without
 * `H` does not depend on it. Throws {@link SpecError}: `MALFORMED` with the field, the column and what would be
 * valid, or `NEVER_FIRES` for a well-formed spec that no date matches.
 */
export function compileRecurrence(spec: RecurrenceSpec, identity: string): Recurrence {
  return recurrences.intern(
    keyOf(spec, identity),
    () => new CompiledRecurrence(spec, compilePattern(spec.pattern, identity)),
  );
}

/** What tells specs apart: a short text for those there are millions of, their JSON for the others. */
function keyOf(spec: RecurrenceSpec, identity: string): string {
  const { pattern, bounds } = spec;
  if (pattern.kind !== 'cron') return JSON.stringify(spec);
  const hashed = usesIdentity(pattern.expression) ? identity : '';
  if (spec.exclusions !== undefined) return `${JSON.stringify(spec)}\n${hashed}`;
  const { expression, dialect, timeZone, dstGap, dstOverlap, anchor } = pattern;
  const { start, end } = bounds ?? {};
  return [expression, dialect, timeZone, dstGap, dstOverlap, anchor, start, end, hashed].join('\n');
}

function compilePattern(pattern: RecurrencePattern, identity: string): Slots {
  switch (pattern.kind) {
    case 'cron':
      if (isEvery(pattern.expression))
        return compileEvery(pattern.expression, pattern.dialect, pattern.anchor ?? 0);
      return inZone(compileCron(pattern.expression, dialectOf(pattern.dialect), identity), pattern);
    case 'rate':
      return compileRate(pattern.everySeconds, pattern.anchor);
    case 'at':
      if (!isInstant(pattern.at)) throw malformedInstant('at', pattern.at);
      return new OneShotSlots(pattern.at);
    case 'calendar':
      return inZone(compileCalendarInterval(pattern), pattern);
    default:
      throw malformed('pattern', 'this is no kind of pattern', 'give cron, rate, at or calendar');
  }
}

function compileEvery(expression: string, dialect: CronDialect | undefined, anchor: number): Slots {
  if (dialectOf(dialect) === 'AWS') {
    throw malformed('expression', 'the AWS dialect has no @every', 'use a rate, or the dialect STANDARD');
  }
  return compileRate(parseEvery(expression), anchor);
}

function compileRate(everySeconds: number, anchor: number): Slots {
  if (!Number.isInteger(everySeconds) || everySeconds < 1 || everySeconds > MAX_RATE_SECONDS) {
    throw malformed('every', `${everySeconds} is no rate`, 'give whole seconds, at least 1');
  }
  if (!isInstant(anchor)) throw malformedInstant('anchor', anchor);
  return new RateSlots(everySeconds, anchor);
}

interface ZonePolicies {
  readonly timeZone?: string | undefined;
  readonly dstGap?: DstGap | undefined;
  readonly dstOverlap?: DstOverlap | undefined;
}

function inZone(pattern: WallPattern, policies: ZonePolicies): Slots {
  const gap = oneOf('dst gap', policies.dstGap, ['AUTO', 'NEXT_VALID', 'SHIFT', 'SKIP']);
  const overlap = oneOf('dst overlap', policies.dstOverlap, ['AUTO', 'FIRST', 'LAST', 'BOTH']);
  const zone = findZone(policies.timeZone ?? 'UTC');
  return zone.isUtc ? new UtcSlots(pattern) : new ZonedSlots(pattern, zone, gap, overlap);
}

function dialectOf(dialect: CronDialect | undefined): CronDialect {
  return oneOf('dialect', dialect, ['STANDARD', 'SECONDS', 'AWS']);
}

/** A choice as given, or the first as the default; what comes from outside may be none of them. */
function oneOf<T extends string>(field: string, given: T | undefined, choices: readonly T[]): T {
  const choice = given ?? choices[0]!;
  if (choices.includes(choice)) return choice;
  throw malformed(field, 'this is none of the choices', `give ${choices.join(', ')}`);
}

function bound(slots: Slots, bounds: RecurrenceBounds | undefined): Slots {
  const { start, end } = bounds ?? {};
  if (start === undefined && end === undefined) return slots;
  if (start !== undefined && !isInstant(start)) throw malformedInstant('start', start);
  if (end !== undefined && !isInstant(end)) throw malformedInstant('end', end);
  const [from, to] = [start ?? Number.NEGATIVE_INFINITY, end ?? Number.POSITIVE_INFINITY];
  if (to < from) throw malformed('end', 'it lies before the start', 'give an end at or after the start');
  return new BoundedSlots(slots, from, to);
}

function malformed(field: string, problem: string, advice: string): SpecError {
  return new SpecError({ kind: 'MALFORMED', field, problem, advice });
}

function malformedInstant(field: string, value: number): SpecError {
  return malformed(field, `${value} is no instant`, 'give whole epoch seconds in the years 1 to 9999');
}
