import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { OverlapPolicy as OverlapPolicyName } from '@carillon/core/schedule-spec.ts';
import { OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  CalendarIntervalSchema,
  CalendarUnit,
  CatchUpPolicy,
  CronDialect,
  CronSchema,
  DstGap,
  DstOverlap,
  type ExclusionCalendar,
  ExclusionCalendarSchema,
  OverlapSchema,
  RateSchema,
  type ScheduleSpec,
  ScheduleSpecSchema,
  Weekday,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { timingBytes } from '@carillon/server/schedule-spec-message.ts';
import { DAY, dateOf, timeOfDay } from './sim-zones.ts';

/** Times on the wall of a zone. What a change of the clocks does to them is said as in `docs/recurrence.md`. */
export type ZonedPattern = {
  readonly zone: string;
  readonly dstGap: 'AUTO' | 'NEXT_VALID' | 'SHIFT' | 'SKIP';
  readonly dstOverlap: 'AUTO' | 'FIRST' | 'LAST' | 'BOTH';
} & (
  | {
      readonly kind: 'cron';
      /** Of each field the values; empty: `*`. Weekdays from 0, Sunday. */
      readonly seconds: readonly number[];
      readonly minutes: readonly number[];
      readonly hours: readonly number[];
      readonly weekdays: readonly number[];
    }
  | {
      readonly kind: 'calendar';
      readonly unit: 'DAY' | 'WEEK';
      readonly every: number;
      /** The local date that is counted from, in days since 1970. */
      readonly startDay: number;
      /** In seconds since midnight. */
      readonly times: readonly number[];
      /** Of `WEEK`; from 0, Sunday. */
      readonly weekdays: readonly number[];
    }
);

/** A pattern of slots, simple enough that whether a second is one of them can be told by looking at that second and its zone's clock. */
export type SimPattern =
  | ZonedPattern
  | { readonly kind: 'rate'; readonly every: number }
  | { readonly kind: 'at'; readonly at: number }
  /** A stored spec that cannot be read: the schedule is quarantined. */
  | { readonly kind: 'corrupt' };

/** A calendar at whose local times nothing fires. */
export interface ExcludedHours {
  readonly zone: string;
  /** Whole days, `YYYY-MM-DD`. */
  readonly dates: readonly string[];
  /** Each week, on these days, from 0, Sunday: none if it is empty. */
  readonly weekdays: readonly number[];
  /** In seconds since midnight; at or before `from`, `to` is on the following day. */
  readonly from: number;
  readonly to: number;
}

/** A schedule's spec. Times in whole epoch seconds. */
export interface SimSpec {
  readonly pattern: SimPattern;
  readonly start: number | undefined;
  readonly end: number | undefined;
  readonly excluded: ExcludedHours | undefined;
  readonly jitterSec: number;
  readonly windowMs: number;
  readonly catchUp: 'ALL' | 'LATEST' | 'NONE';
  /** Under `ALL`: how many missed slots are fired at most; 0: all. */
  readonly catchUpLimit: number;
  readonly overlap: OverlapPolicyName;
  /** How many runs may go at once; 0: the policy's default. */
  readonly overlapLimit: number;
}

/** The same with a pattern that this version can make nothing of, as if its zone were not known here. */
export function unreadableBytes(spec: SimSpec): Uint8Array {
  const pattern: SimPattern = {
    kind: 'cron',
    zone: 'Nowhere/At_All',
    seconds: [],
    minutes: [],
    hours: [],
    weekdays: [],
    dstGap: 'AUTO',
    dstOverlap: 'AUTO',
  };
  return specBytes({ ...spec, pattern });
}

/** The spec as it is stored. */
export function specBytes(spec: SimSpec): Uint8Array {
  if (spec.pattern.kind === 'corrupt') return Uint8Array.of(0xff, 0xff, 0xff);
  const message = create(ScheduleSpecSchema, {
    pattern: patternMessage(spec.pattern),
    catchUp: {
      policy: CatchUpPolicy[spec.catchUp],
      window: durationFromMs(spec.windowMs),
      limit: spec.catchUpLimit,
    },
  });
  if (spec.overlap !== 'ALLOW' || spec.overlapLimit > 0)
    message.overlap = create(OverlapSchema, {
      policy: OverlapPolicy[spec.overlap],
      limit: spec.overlapLimit,
    });
  if (spec.start !== undefined) message.startTime = timestampFromMs(spec.start * 1000);
  if (spec.end !== undefined) message.endTime = timestampFromMs(spec.end * 1000);
  if (spec.excluded !== undefined) message.exclusions = [exclusionMessage(spec.excluded)];
  if (spec.jitterSec > 0) message.jitter = durationFromMs(spec.jitterSec * 1000);
  return timingBytes(message);
}

/** From 0, Sunday. */
const WEEKDAYS = [
  Weekday.SUNDAY,
  Weekday.MONDAY,
  Weekday.TUESDAY,
  Weekday.WEDNESDAY,
  Weekday.THURSDAY,
  Weekday.FRIDAY,
  Weekday.SATURDAY,
];

/** Whether what its overlap policy decides depends on the order of its slots. */
export function isExclusive({ overlap }: SimSpec): boolean {
  return overlap !== 'ALLOW';
}

/** In a few words, for a story. */
export function describeSpec(spec: SimSpec): string {
  const { pattern, start, end, excluded, jitterSec, windowMs, catchUp, catchUpLimit, overlap, overlapLimit } =
    spec;
  const words = [describePattern(pattern)];
  if (start !== undefined) words.push(`from ${start}`);
  if (end !== undefined) words.push(`until ${end}`);
  if (excluded !== undefined) words.push(`not ${JSON.stringify(excluded)}`);
  if (jitterSec > 0) words.push(`jitter ${jitterSec} s`);
  words.push(`window ${windowMs / 1000} s`);
  if (catchUp !== 'ALL' || catchUpLimit > 0) words.push(`catches up ${catchUp} ${catchUpLimit || ''}`.trim());
  if (overlap !== 'ALLOW' || overlapLimit > 0) words.push(`overlap ${overlap} ${overlapLimit || ''}`.trim());
  return words.join(', ');
}

function describePattern(pattern: SimPattern): string {
  switch (pattern.kind) {
    case 'rate':
      return `every ${pattern.every} s`;
    case 'cron':
      return `"${cronExpression(pattern)}" ${describeZone(pattern)}`;
    case 'calendar': {
      const { unit, every, startDay, times, weekdays } = pattern;
      return `each ${every} ${unit} from ${dateOf(startDay * DAY)} on ${weekdays} at ${times.map(timeOfDay)} ${describeZone(pattern)}`;
    }
    case 'at':
      return `at ${pattern.at}`;
    case 'corrupt':
      return 'a corrupt spec';
  }
}

function describeZone({ zone, dstGap, dstOverlap }: ZonedPattern): string {
  return `in ${zone} (${dstGap}, ${dstOverlap})`;
}

function patternMessage(pattern: Exclude<SimPattern, { kind: 'corrupt' }>): ScheduleSpec['pattern'] {
  const spec = create(ScheduleSpecSchema);
  switch (pattern.kind) {
    case 'rate':
      spec.pattern = {
        case: 'rate',
        value: create(RateSchema, { interval: durationFromMs(pattern.every * 1000) }),
      };
      break;
    case 'at':
      spec.pattern = { case: 'at', value: timestampFromMs(pattern.at * 1000) };
      break;
    case 'cron':
      spec.pattern = {
        case: 'cron',
        value: create(CronSchema, {
          expression: cronExpression(pattern),
          dialect: CronDialect.SECONDS,
          ...zoneMessage(pattern),
        }),
      };
      break;
    case 'calendar': {
      const { unit, every, startDay, times, weekdays } = pattern;
      spec.pattern = {
        case: 'calendar',
        value: create(CalendarIntervalSchema, {
          unit: CalendarUnit[unit],
          every,
          startDate: dateOf(startDay * DAY),
          times: times.map(timeOfDay),
          weekdays: weekdays.map((day) => WEEKDAYS[day]!),
          ...zoneMessage(pattern),
        }),
      };
    }
  }
  return spec.pattern;
}

function zoneMessage({ zone, dstGap, dstOverlap }: ZonedPattern): {
  timeZone: string;
  dstGap: DstGap;
  dstOverlap: DstOverlap;
} {
  return { timeZone: zone, dstGap: DstGap[dstGap], dstOverlap: DstOverlap[dstOverlap] };
}

function exclusionMessage({ zone, dates, weekdays, from, to }: ExcludedHours): ExclusionCalendar {
  const weekly = {
    weekdays: weekdays.map((day) => WEEKDAYS[day]!),
    fromTime: timeOfDay(from),
    toTime: to === DAY ? '24:00' : timeOfDay(to),
  };
  return create(ExclusionCalendarSchema, {
    name: 'quiet',
    timeZone: zone,
    dates: [...dates],
    weekly: weekdays.length > 0 ? [weekly] : [],
  });
}

function cronExpression({
  seconds,
  minutes,
  hours,
  weekdays,
}: Extract<SimPattern, { kind: 'cron' }>): string {
  const [second, minute, hour, weekday] = [seconds, minutes, hours, weekdays].map((field) =>
    field.length === 0 ? '*' : field.join(','),
  );
  return `${second} ${minute} ${hour} * * ${weekday}`;
}
