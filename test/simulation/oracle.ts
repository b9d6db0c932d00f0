import { identityHash, mixHash } from '@carillon/core/cron/identity-hash.ts';
import type { ExcludedHours, SimPattern, SimSpec, ZonedPattern } from './sim-spec.ts';
import { DAY, dateOf, type Stretch, stretchesAround, wallAt, weekdayOf } from './sim-zones.ts';

/** A slot as the oracle finds it. */
export interface OracleSlot {
  /** Whole epoch seconds. */
  readonly nominal: number;
  /** Epoch milliseconds. */
  readonly dueMs: number;
}

/** What the oracle must know of a schedule's revision. */
export interface OracleTiming {
  readonly spec: SimSpec;
  /** The anchor of a rate without a start, in whole epoch seconds. */
  readonly anchor: number;
  /** `project/domain/schedule`: what jitter is hashed from. */
  readonly identity: string;
}

/**
 * The slots after `fromMs` and up to `toMs`, by looking at each second in between. It shares nothing with the recurrence code that it
 * judges, but for the hash that jitter is defined by.
 */
export function slotsOf(timing: OracleTiming, fromMs: number, toMs: number): OracleSlot[] {
  const slots: OracleSlot[] = [];
  for (let second = Math.floor(fromMs / 1000); second * 1000 <= toMs; second++) {
    if (second * 1000 > fromMs && isSlot(timing, second))
      slots.push({ nominal: second, dueMs: dueMs(timing, second) });
  }
  return slots;
}

/** Whether a second is a slot of the timing, spans aside. */
export function isSlot({ spec, anchor }: OracleTiming, second: number): boolean {
  if (spec.start !== undefined && second < spec.start) return false;
  if (spec.end !== undefined && second > spec.end) return false;
  return (
    matches(spec.pattern, spec.start ?? anchor, second) &&
    !(spec.excluded !== undefined && isExcluded(spec.excluded, second))
  );
}

function matches(pattern: SimPattern, anchor: number, second: number): boolean {
  switch (pattern.kind) {
    case 'rate':
      return second >= anchor && (second - anchor) % pattern.every === 0;
    case 'cron':
    case 'calendar':
      return matchesInZone(pattern, second);
    case 'at':
      return second === pattern.at;
    case 'corrupt':
      return false;
  }
}

/** Whether an instant is that of one of the pattern's times on the wall, by the rules for changes of the clocks. */
function matchesInZone(pattern: ZonedPattern, second: number): boolean {
  const stretches = stretchesAround(pattern.zone, second);
  const index = stretches.findIndex(({ from, to }) => second >= from && second < to);
  const present = stretches[index]!;
  const wall = second + present.offset;
  if (isNominal(pattern, wall)) {
    const all = stretches
      .map(({ offset }) => wall - offset)
      .filter((at, each) => contains(stretches[each]!, at));
    if (counts(pattern, second, all)) return true;
  }
  if (stretches.length === 1) return false;
  const gapRule = gapRuleOf(pattern);
  if (gapRule === 'SHIFT') return isShifted(pattern, second, stretches);
  const previous = stretches[index - 1];
  if (gapRule === 'SKIP' || second !== present.from || !previous || previous.offset >= present.offset)
    return false;
  return remembered(pattern, second, () => {
    const gap = { from: second + previous.offset, to: second + present.offset };
    return gapRule === 'NEXT_VALID'
      ? hasNominal(pattern, gap.from, gap.to)
      : datesOf(gap).some((date) => losesItsDate(pattern, date, gap));
  });
}

/** Which of the instants count that a time on the wall has. */
function counts(pattern: ZonedPattern, second: number, instants: readonly number[]): boolean {
  const rule = pattern.dstOverlap === 'AUTO' ? (isInterval(pattern) ? 'BOTH' : 'FIRST') : pattern.dstOverlap;
  if (rule === 'FIRST') return second === Math.min(...instants);
  if (rule === 'LAST') return second === Math.max(...instants);
  return true;
}

/** What becomes of times that a change of the clocks leaves out; `DROP`: nothing, unless that takes all slots of their date. */
function gapRuleOf(pattern: ZonedPattern): 'NEXT_VALID' | 'SHIFT' | 'SKIP' | 'DROP' {
  if (pattern.dstGap !== 'AUTO') return pattern.dstGap;
  return isInterval(pattern) ? 'DROP' : 'NEXT_VALID';
}

/** An expression with a `*` in its second, minute or hour field; a calendar interval has fixed times. */
function isInterval(pattern: ZonedPattern): boolean {
  if (pattern.kind === 'calendar') return false;
  return [pattern.seconds, pattern.minutes, pattern.hours].some((field) => field.length === 0);
}

/** Whether a time in a gap before the instant is moved to it by the gap's length. */
function isShifted(pattern: ZonedPattern, second: number, stretches: readonly Stretch[]): boolean {
  return stretches.some(({ from, offset }, index) => {
    const previous = stretches[index - 1];
    if (!previous || second < from || second >= from + offset - previous.offset) return false;
    return isNominal(pattern, second + previous.offset);
  });
}

/** Whether a date has times in the gap, and none beside them. */
function losesItsDate(pattern: ZonedPattern, date: number, gap: { from: number; to: number }): boolean {
  const [begin, end] = [date * DAY, (date + 1) * DAY];
  const [from, to] = [Math.max(begin, gap.from), Math.min(end, gap.to)];
  return hasNominal(pattern, from, to) && !hasNominal(pattern, begin, from) && !hasNominal(pattern, to, end);
}

function datesOf({ from, to }: { from: number; to: number }): number[] {
  const dates: number[] = [];
  for (let date = Math.floor(from / DAY); date * DAY < to; date++) dates.push(date);
  return dates;
}

function hasNominal(pattern: ZonedPattern, from: number, to: number): boolean {
  for (let wall = from; wall < to; wall++) if (isNominal(pattern, wall)) return true;
  return false;
}

/** Whether a time on the wall is one of the pattern's. */
function isNominal(pattern: ZonedPattern, wall: number): boolean {
  const inDay = wall - Math.floor(wall / DAY) * DAY;
  if (pattern.kind === 'cron') {
    const { seconds, minutes, hours, weekdays } = pattern;
    return (
      allows(seconds, inDay % 60) &&
      allows(minutes, Math.floor(inDay / 60) % 60) &&
      allows(hours, Math.floor(inDay / 3_600)) &&
      allows(weekdays, weekdayOf(wall))
    );
  }
  if (!pattern.times.includes(inDay)) return false;
  const date = Math.floor(wall / DAY);
  if (date < pattern.startDay) return false;
  if (pattern.unit === 'DAY') return (date - pattern.startDay) % pattern.every === 0;
  // Weeks begin on Monday, and day 4 of 1970 was one.
  const week = Math.floor((date - 4) / 7) - Math.floor((pattern.startDay - 4) / 7);
  return week % pattern.every === 0 && pattern.weekdays.includes(weekdayOf(wall));
}

/** An empty field is `*`. */
function allows(field: readonly number[], value: number): boolean {
  return field.length === 0 || field.includes(value);
}

function isExcluded({ zone, dates, weekdays, from, to }: ExcludedHours, second: number): boolean {
  const wall = wallAt(zone, second);
  if (dates.includes(dateOf(wall))) return true;
  const inDay = wall - Math.floor(wall / DAY) * DAY;
  const weekday = weekdayOf(wall);
  if (from < to) return weekdays.includes(weekday) && inDay >= from && inDay < to;
  // Through midnight.
  return (
    (weekdays.includes(weekday) && inDay >= from) || (weekdays.includes((weekday + 6) % 7) && inDay < to)
  );
}

function contains({ from, to }: Stretch, second: number): boolean {
  return second >= from && second < to;
}

/** By pattern and instant: what a walk through a whole day found. */
const memory = new WeakMap<ZonedPattern, Map<number, boolean>>();

function remembered(pattern: ZonedPattern, second: number, find: () => boolean): boolean {
  let answers = memory.get(pattern);
  if (!answers) {
    answers = new Map();
    memory.set(pattern, answers);
  }
  let answer = answers.get(second);
  if (answer === undefined) {
    answer = find();
    answers.set(second, answer);
  }
  return answer;
}

function dueMs(timing: OracleTiming, nominal: number): number {
  const { jitterSec } = timing.spec;
  if (jitterSec === 0) return nominal * 1000;
  let widthSec = jitterSec;
  for (let next = nominal + 1; next < nominal + jitterSec; next++) {
    if (isSlot(timing, next)) {
      widthSec = next - nominal;
      break;
    }
  }
  const high = Math.floor(nominal / 2 ** 32);
  const hash = mixHash(identityHash(timing.identity, 'jitter') ^ mixHash((nominal >>> 0) ^ mixHash(high)));
  return nominal * 1000 + Math.floor((hash / 2 ** 32) * widthSec * 1000);
}
