import { clearField, clone, fromBinary, toBinary } from '@bufbuild/protobuf';
import { durationMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { isEvery } from '@carillon/core/cron/parse-every.ts';
import type {
  CronDialect as CoreCronDialect,
  DstGap as CoreDstGap,
  DstOverlap as CoreDstOverlap,
  CronSpec,
  RecurrencePattern,
  RecurrenceSpec,
} from '@carillon/core/recurrence-spec.ts';
import {
  type CatchUpPolicy as CoreCatchUpPolicy,
  type OverlapPolicy as CoreOverlapPolicy,
  DEFAULT_CATCH_UP_WINDOW_MS,
  DEFAULT_TIME_ZONE,
  type SchedulePolicies,
} from '@carillon/core/schedule-spec.ts';
import { OverlapPolicy, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  CatchUpPolicy,
  type Cron,
  CronDialect,
  DstGap,
  DstOverlap,
  type ScheduleSpec,
  ScheduleSpecSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { calendarIntervalOf, exclusionCalendarOf } from './calendar-message.ts';
import { known, unusable } from './known-word.ts';

const DIALECTS: Readonly<Record<CronDialect, CoreCronDialect>> = {
  [CronDialect.UNSPECIFIED]: 'STANDARD',
  [CronDialect.STANDARD]: 'STANDARD',
  [CronDialect.SECONDS]: 'SECONDS',
  [CronDialect.AWS]: 'AWS',
};

const DST_GAPS: Readonly<Record<DstGap, CoreDstGap>> = {
  [DstGap.UNSPECIFIED]: 'AUTO',
  [DstGap.AUTO]: 'AUTO',
  [DstGap.NEXT_VALID]: 'NEXT_VALID',
  [DstGap.SHIFT]: 'SHIFT',
  [DstGap.SKIP]: 'SKIP',
};

const DST_OVERLAPS: Readonly<Record<DstOverlap, CoreDstOverlap>> = {
  [DstOverlap.UNSPECIFIED]: 'AUTO',
  [DstOverlap.AUTO]: 'AUTO',
  [DstOverlap.FIRST]: 'FIRST',
  [DstOverlap.LAST]: 'LAST',
  [DstOverlap.BOTH]: 'BOTH',
};

const CATCH_UP_POLICIES: Readonly<Record<CatchUpPolicy, CoreCatchUpPolicy>> = {
  [CatchUpPolicy.UNSPECIFIED]: 'ALL',
  [CatchUpPolicy.ALL]: 'ALL',
  [CatchUpPolicy.LATEST]: 'LATEST',
  [CatchUpPolicy.NONE]: 'NONE',
};

const OVERLAP_POLICIES: Readonly<Record<OverlapPolicy, CoreOverlapPolicy>> = {
  [OverlapPolicy.UNSPECIFIED]: 'ALLOW',
  [OverlapPolicy.ALLOW]: 'ALLOW',
  [OverlapPolicy.SKIP]: 'SKIP',
  [OverlapPolicy.BUFFER_ONE]: 'BUFFER_ONE',
  [OverlapPolicy.BUFFER_ALL]: 'BUFFER_ALL',
  [OverlapPolicy.CANCEL_OTHER]: 'CANCEL_OTHER',
  [OverlapPolicy.TERMINATE_OTHER]: 'TERMINATE_OTHER',
};

/**
 * The recurrence of a spec. `anchor`, in whole epoch seconds, is that of a rate without a start time: the schedule's first
 * activation (`rateAnchorSec`).
 *
 * @throws {SpecError} for a spec without a pattern, or with a value of a newer version, which no recurrence can be made of.
 */
export function recurrenceSpecOf(timing: ScheduleSpec, anchor: number): RecurrenceSpec {
  const start = secondsOf(timing.startTime);
  return {
    pattern: patternOf(timing, start ?? anchor),
    bounds: { start, end: secondsOf(timing.endTime) },
    ...(timing.exclusions.length > 0 ? { exclusions: timing.exclusions.map(exclusionCalendarOf) } : {}),
  };
}

/** What a spec says beside its recurrence, with the defaults filled in. @throws {SpecError} for a policy of a newer version. */
export function policiesOf(timing: ScheduleSpec): SchedulePolicies {
  const overlapPolicy = known(
    OVERLAP_POLICIES,
    timing.overlap?.policy ?? OverlapPolicy.UNSPECIFIED,
    'overlap policy',
  );
  const limit = timing.overlap?.limit ?? 0;
  return {
    jitterSeconds: timing.jitter === undefined ? 0 : durationMs(timing.jitter) / 1000,
    catchUpPolicy: known(
      CATCH_UP_POLICIES,
      timing.catchUp?.policy ?? CatchUpPolicy.UNSPECIFIED,
      'catch-up policy',
    ),
    catchUpWindowMs:
      timing.catchUp?.window === undefined ? DEFAULT_CATCH_UP_WINDOW_MS : durationMs(timing.catchUp.window),
    catchUpLimit: timing.catchUp?.limit ?? 0,
    overlapPolicy,
    overlapLimit: limit === 0 && overlapPolicy !== 'ALLOW' ? 1 : limit,
  };
}

/**
 * A spec without its run, in the protobuf binary form. Equal timings are equal bytes, and fields that this binary does not know
 * are kept.
 */
export function timingBytes(spec: ScheduleSpec): Uint8Array {
  const timing = clone(ScheduleSpecSchema, spec);
  clearField(timing, ScheduleSpecSchema.field.run);
  return toBinary(ScheduleSpecSchema, timing);
}

/** The spec of a stored revision. @throws {Error} for bytes that are no such message. */
export function scheduleSpecOf(stored: {
  readonly timing: Uint8Array;
  readonly run: Uint8Array;
}): ScheduleSpec {
  const spec = fromBinary(ScheduleSpecSchema, stored.timing);
  spec.run = fromBinary(RunSpecSchema, stored.run);
  return spec;
}

function patternOf({ pattern }: ScheduleSpec, anchor: number): RecurrencePattern {
  switch (pattern.case) {
    case 'cron':
      return cronOf(pattern.value, anchor);
    case 'rate':
      return { kind: 'rate', everySeconds: Number(pattern.value.interval?.seconds ?? 0n), anchor };
    case 'at':
      return { kind: 'at', at: Number(pattern.value.seconds) };
    case 'calendar':
      return calendarIntervalOf(pattern.value, {
        dstGap: known(DST_GAPS, pattern.value.dstGap, 'dst gap'),
        dstOverlap: known(DST_OVERLAPS, pattern.value.dstOverlap, 'dst overlap'),
      });
    case undefined:
      throw unusable(
        'pattern',
        'there is no pattern, or one of a newer version',
        'give cron, rate, at or calendar',
      );
  }
}

function cronOf(cron: Cron, anchor: number): CronSpec {
  return {
    kind: 'cron',
    expression: cron.expression,
    dialect: known(DIALECTS, cron.dialect, 'dialect'),
    timeZone: cron.timeZone === '' ? DEFAULT_TIME_ZONE : cron.timeZone,
    dstGap: known(DST_GAPS, cron.dstGap, 'dst gap'),
    dstOverlap: known(DST_OVERLAPS, cron.dstOverlap, 'dst overlap'),
    // Only where it matters, for recurrences are shared by what they are made of.
    ...(isEvery(cron.expression) ? { anchor } : {}),
  };
}

function secondsOf(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : Number(time.seconds);
}
