import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { OverlapPolicy as OverlapPolicyName } from '@carillon/core/schedule-spec.ts';
import { OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  CatchUpPolicy,
  CronDialect,
  OverlapSchema,
  type ScheduleSpec,
  ScheduleSpecSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { timingBytes } from '@carillon/server/schedule-spec-message.ts';

/** Offsets of zones that never changed theirs in the simulated years, in seconds east of Greenwich. */
export const ZONES = { UTC: 0, 'Asia/Kolkata': 19_800, 'Asia/Kathmandu': 20_700 } as const;

/** A pattern of slots, simple enough that whether a second is one of them can be told by looking at that second alone. */
export type SimPattern =
  | { readonly kind: 'rate'; readonly every: number }
  | {
      readonly kind: 'cron';
      readonly seconds: readonly number[];
      /** Empty: every minute. */
      readonly minutes: readonly number[];
      readonly zone: keyof typeof ZONES;
    }
  | { readonly kind: 'at'; readonly at: number }
  /** A stored spec that cannot be read: the schedule is quarantined. */
  | { readonly kind: 'corrupt' };

/** A schedule's spec. Times in whole epoch seconds. */
export interface SimSpec {
  readonly pattern: SimPattern;
  readonly start: number | undefined;
  readonly end: number | undefined;
  readonly jitterSec: number;
  readonly windowMs: number;
  readonly catchUp: 'ALL' | 'LATEST' | 'NONE';
  /** Under `ALL`: how many missed slots are fired at most; 0: all. */
  readonly catchUpLimit: number;
  readonly overlap: OverlapPolicyName;
  /** How many runs may go at once; 0: the policy's default. */
  readonly overlapLimit: number;
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
  if (spec.jitterSec > 0) message.jitter = durationFromMs(spec.jitterSec * 1000);
  return timingBytes(message);
}

/** Whether what its overlap policy decides depends on the order of its slots. */
export function isExclusive({ overlap }: SimSpec): boolean {
  return overlap !== 'ALLOW';
}

/** In a few words, for a story. */
export function describeSpec(spec: SimSpec): string {
  const { pattern, start, end, jitterSec, windowMs, catchUp, catchUpLimit, overlap, overlapLimit } = spec;
  const words = [describePattern(pattern)];
  if (start !== undefined) words.push(`from ${start}`);
  if (end !== undefined) words.push(`until ${end}`);
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
      return `"${cronExpression(pattern)}" in ${pattern.zone}`;
    case 'at':
      return `at ${pattern.at}`;
    case 'corrupt':
      return 'a corrupt spec';
  }
}

function patternMessage(pattern: Exclude<SimPattern, { kind: 'corrupt' }>): ScheduleSpec['pattern'] {
  const spec = create(ScheduleSpecSchema, {
    pattern:
      pattern.kind === 'rate'
        ? { case: 'rate', value: { interval: durationFromMs(pattern.every * 1000) } }
        : pattern.kind === 'at'
          ? { case: 'at', value: timestampFromMs(pattern.at * 1000) }
          : {
              case: 'cron',
              value: {
                expression: cronExpression(pattern),
                dialect: CronDialect.SECONDS,
                timeZone: pattern.zone,
              },
            },
  });
  return spec.pattern;
}

function cronExpression({ seconds, minutes }: Extract<SimPattern, { kind: 'cron' }>): string {
  return `${seconds.join(',')} ${minutes.length === 0 ? '*' : minutes.join(',')} * * * *`;
}
