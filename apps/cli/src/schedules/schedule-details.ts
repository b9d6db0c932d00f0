import { timestampMs } from '@bufbuild/protobuf/wkt';
import { OverlapPolicy, OverlapPolicySchema, type RunSpec } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { CatchUpPolicySchema, type Schedule } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { printable } from '../display-text.ts';
import { exactDuration, roughDuration } from '../duration.ts';
import { type Facts, factLines, labelText, payloadText } from '../facts.ts';
import { bothText } from '../instant.ts';
import { shortName } from '../resource-argument.ts';
import type { Style } from '../style.ts';
import { patternText } from './pattern-text.ts';
import { paintState, stateText } from './schedule-state.ts';

/** How details are laid out, and from when "in 3 h" counts. */
export interface DetailOptions {
  readonly style: Style;
  readonly timeZone: string;
  readonly nowMs: number;
}

/** A schedule on a screen: everything that is set, and what lies ahead. */
export function scheduleDetails(schedule: Schedule, { style, timeZone, nowMs }: DetailOptions): string[] {
  const { spec, status, pause } = schedule;
  const facts: Facts = [
    ['description', printable(schedule.description)],
    ['when', patternText(spec)],
    ['in words', printable(status?.recurrence ?? '')],
    ['from', bothText(spec?.startTime, timeZone)],
    ['until', bothText(spec?.endTime, timeZone)],
    ['jitter', durationText(spec?.jitter)],
    ['overlap', overlapText(schedule)],
    ['catch-up', catchUpText(schedule)],
    ['labels', labelText(schedule.labels)],
    ...runFacts(spec?.run),
    ['nominal time in', spec?.nominalTimeInput ?? ''],
    [
      'revision',
      schedule.activeRevision === schedule.revision
        ? `${schedule.revision} (active)`
        : `${schedule.revision}; active: ${schedule.activeRevision === 0 ? 'none' : schedule.activeRevision}`,
    ],
    ['etag', schedule.etag],
    ['uid', schedule.uid],
    ['created', bothText(schedule.createTime, timeZone)],
    ['updated', bothText(schedule.updateTime, timeZone)],
    ['deleted', bothText(schedule.deleteTime, timeZone)],
    [
      'paused',
      pause === undefined
        ? ''
        : printable(
            `by ${pause.actor}${pause.reason === '' ? '' : `: ${pause.reason}`}, ${bothText(pause.pauseTime, timeZone)}`,
          ),
    ],
    ['quarantined', style.bad(printable(status?.quarantineReason ?? ''))],
  ];
  const next = (status?.nextSlotTimes ?? []).map((time) => {
    const distance = timestampMs(time) - nowMs;
    return `  ${bothText(time, timeZone)}  ${style.faint(distance < 0 ? 'now' : `in ${roughDuration(distance)}`)}`;
  });
  return [
    `${style.strong(shortName(schedule.name))}  ${paintState(style, stateText(schedule), schedule)}`,
    ...factLines(facts, style),
    ...(next.length === 0 ? [] : ['', style.faint('next'), ...next]),
  ];
}

/** What is run, fact by fact. */
export function runFacts(run: RunSpec | undefined): Facts {
  if (run === undefined) return [];
  const { retry } = run;
  return [
    ['task', printable(run.task)],
    ['queue', run.queue === 'default' ? '' : run.queue],
    ['inputs', payloadText(run.inputs)],
    ['run labels', labelText(run.labels)],
    [
      'retries',
      retry === undefined || retry.maxAttempts < 2
        ? ''
        : `${retry.maxAttempts} attempts, ${durationText(retry.initialBackoff) || '1s'} to ${durationText(retry.maxBackoff) || '1m'} apart`,
    ],
    ['time limit', durationText(run.attemptTimeout)],
  ];
}

function overlapText({ spec }: Schedule): string {
  if (spec?.overlap === undefined) return '';
  const { policy, limit } = spec.overlap;
  const word =
    policy === OverlapPolicy.UNSPECIFIED
      ? 'allow'
      : OverlapPolicySchema.value[policy]?.localName.toLowerCase();
  return `${word ?? policy}${limit === 0 ? '' : `, ${limit} at once`}`;
}

function catchUpText({ spec }: Schedule): string {
  if (spec?.catchUp === undefined) return '';
  const policy = CatchUpPolicySchema.value[spec.catchUp.policy]?.localName.toLowerCase() ?? '';
  const window = durationText(spec.catchUp.window);
  return `${policy === 'unspecified' ? 'all' : policy}${window === '' ? '' : ` within ${window}`}`;
}

function durationText(duration: { seconds: bigint; nanos: number } | undefined): string {
  return duration === undefined
    ? ''
    : exactDuration(Number(duration.seconds) * 1_000 + Math.round(duration.nanos / 1e6));
}
