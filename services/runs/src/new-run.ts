import { hash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import type { Entropy } from '@carillon/core/clock.ts';
import { type FieldViolation, invalidArgument } from '@carillon/core/domain-error.ts';
import { formatParent, type Parent, parseParent, parseScheduleName } from '@carillon/core/resource-name.ts';
import type { OverlapPolicy } from '@carillon/core/schedule-spec.ts';
import { utcDay } from '@carillon/db/partitions.ts';
import type { NewRun, RunKind as StoredKind } from '@carillon/db/tables/runs.ts';
import {
  OverlapPolicy as OverlapPolicyEnum,
  RunKind,
  type RunPayload,
  RunPayloadSchema,
  type RunSpec,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { microsOfTimestamp } from '@carillon/server/epoch-timestamp.ts';
import { runSpecViolations } from '@carillon/server/run-spec-message.ts';
import { timestampViolations } from '@carillon/server/whole-time.ts';
import { END_OF_TIME_MICROS } from './nominal-day.ts';
import { runDigest } from './run-digest.ts';

/** What fills in the defaults of a request. */
export interface NewRunContext {
  /** Now, in microseconds since the epoch. */
  readonly nowMicros: number;
  readonly entropy: Entropy;
}

/** The queue of a run that names none. */
export const DEFAULT_QUEUE = 'default';

/** The media type of data that names none. */
export const DEFAULT_CONTENT_TYPE = 'application/octet-stream';

const DEFAULT_INITIAL_BACKOFF_MS = 1_000;
const DEFAULT_MAX_BACKOFF_MS = 60_000;
const DEFAULT_ATTEMPT_TIMEOUT_MS = 3_600_000;

const CARILLON_NAME = /^r[a-z2-7]{26}$/;
const FLYTE_NAME = /^r[0-9a-f]{1,16}$/;

/**
 * The run that a request asks for, with every default filled in. The request has kept the rules in the protos.
 *
 * @throws {DomainError} INVALID_ARGUMENT with every violation.
 */
export function newRunOf(request: CreateRunRequest, { nowMicros, entropy }: NewRunContext): NewRun {
  const parent = parseParent(request.parent);
  const { spec } = request;
  const kind = KINDS.get(request.kind);
  const policy = POLICIES.get(request.concurrency?.policy ?? OverlapPolicyEnum.UNSPECIFIED);
  if (spec === undefined || kind === undefined || policy === undefined) {
    throw new RangeError('the request has not kept its rules');
  }
  const violations = [
    ...(kind === 'AD_HOC' ? adHocViolations(request) : slotViolations(request, parent)),
    ...runSpecViolations(spec, 'spec'),
  ];
  if (violations.length > 0) throw invalidArgument(...violations);

  const nominalMicros =
    request.nominalTime === undefined ? nowMicros : microsOfTimestamp(request.nominalTime);
  const inputs = payloadWithDefaults(spec.inputs);
  const execution = { ...executionOf(spec), ...concurrencyOf(request, policy) };
  return {
    ...parent,
    run_id: request.runId === '' ? unclaimableId(entropy) : request.runId,
    day: utcDay(nominalMicros),
    kind,
    schedule_id: request.schedule === '' ? '' : parseScheduleName(request.schedule, 'schedule').scheduleId,
    schedule_uid: request.scheduleUid,
    schedule_revision: request.scheduleRevision,
    nominal_micros: nominalMicros,
    fire_micros: request.fireTime === undefined ? nowMicros : microsOfTimestamp(request.fireTime),
    not_after_micros: notAfterOf(request),
    takes_name: kind === 'AD_HOC' && request.runId !== '',
    ...execution,
    inputs: inputs === undefined ? null : toBinary(RunPayloadSchema, inputs),
    digest: runDigest(execution, inputs),
    // Until its overlap policy has decided it, in the transaction that creates it.
    ...(execution.concurrency_key === null ? STARTED : BUFFERED),
  };
}

/** An instant that no clock will reach is no limit; one before the epoch has passed, as has the epoch. */
function notAfterOf({ notAfter }: CreateRunRequest): number | null {
  const micros = notAfter === undefined ? END_OF_TIME_MICROS : microsOfTimestamp(notAfter);
  return micros < END_OF_TIME_MICROS ? Math.max(0, micros) : null;
}

const KINDS: ReadonlyMap<number, StoredKind> = new Map<number, StoredKind>([
  [RunKind.UNSPECIFIED, 'AD_HOC'],
  [RunKind.AD_HOC, 'AD_HOC'],
  [RunKind.SLOT, 'SLOT'],
  [RunKind.BACKFILL, 'BACKFILL'],
  [RunKind.TRIGGER, 'TRIGGER'],
]);

const POLICIES: ReadonlyMap<number, OverlapPolicy> = new Map<number, OverlapPolicy>([
  [OverlapPolicyEnum.UNSPECIFIED, 'ALLOW'],
  [OverlapPolicyEnum.ALLOW, 'ALLOW'],
  [OverlapPolicyEnum.SKIP, 'SKIP'],
  [OverlapPolicyEnum.BUFFER_ONE, 'BUFFER_ONE'],
  [OverlapPolicyEnum.BUFFER_ALL, 'BUFFER_ALL'],
  [OverlapPolicyEnum.CANCEL_OTHER, 'CANCEL_OTHER'],
  [OverlapPolicyEnum.TERMINATE_OTHER, 'TERMINATE_OTHER'],
]);

function adHocViolations(request: CreateRunRequest): FieldViolation[] {
  const violations: FieldViolation[] = [];
  const refuse = (field: string): void => {
    violations.push({ field, description: 'is not allowed for an ad-hoc run', reason: 'AD_HOC' });
  };
  if (request.schedule !== '') refuse('schedule');
  if (request.scheduleUid !== '') refuse('schedule_uid');
  if (request.scheduleRevision !== 0) refuse('schedule_revision');
  if (CARILLON_NAME.test(request.runId) || FLYTE_NAME.test(request.runId)) {
    const description = 'has the form of the names of slots: choose another one';
    violations.push({ field: 'run_id', description, reason: 'SLOT_NAME' });
  }
  return violations;
}

function slotViolations(request: CreateRunRequest, parent: Parent): FieldViolation[] {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string, reason: string): void => {
    violations.push({ field, description, reason });
  };
  const flyte = FLYTE_NAME.test(request.runId);
  if (!flyte && !CARILLON_NAME.test(request.runId)) {
    // Names of slots are unique with their day, those of ad-hoc runs without: neither may stand where the other does.
    refuse(
      'run_id',
      'must be r and 26 characters of base32, or r and up to 16 hexadecimal digits',
      'SLOT_NAME',
    );
  }
  if (request.schedule === '') refuse('schedule', 'is required unless the run is ad-hoc', 'REQUIRED');
  else if (!request.schedule.startsWith(`${formatParent(parent)}/`)) {
    refuse('schedule', 'must be in the same project and domain as the run', 'OTHER_PARENT');
  }
  if (flyte && request.scheduleUid !== '') {
    refuse('schedule_uid', 'is not allowed under a run name of the flyte scheme', 'FLYTE_NAME');
  }
  if (!flyte && request.scheduleUid === '') {
    refuse('schedule_uid', 'is required unless the run is ad-hoc', 'REQUIRED');
  }
  if (request.nominalTime === undefined) {
    refuse('nominal_time', 'is required unless the run is ad-hoc', 'REQUIRED');
  }
  return [...violations, ...timestampViolations(request.nominalTime, 'nominal_time', 'seconds')];
}

function executionOf({ task, queue, labels, retry, attemptTimeout }: RunSpec) {
  const ms = (duration: Duration | undefined, byDefault: number): number =>
    duration === undefined ? byDefault : durationMs(duration);
  return {
    task,
    queue: queue === '' ? DEFAULT_QUEUE : queue,
    labels,
    max_attempts: Math.max(1, retry?.maxAttempts ?? 1),
    initial_backoff_ms: ms(retry?.initialBackoff, DEFAULT_INITIAL_BACKOFF_MS),
    max_backoff_ms: ms(retry?.maxBackoff, DEFAULT_MAX_BACKOFF_MS),
    attempt_timeout_ms: ms(attemptTimeout, DEFAULT_ATTEMPT_TIMEOUT_MS),
  };
}

const STARTED = { phase: 'QUEUED', outcome: 'STARTED' } as const;
const BUFFERED = { phase: 'BUFFERED', outcome: 'BUFFERED' } as const;

function concurrencyOf({ concurrency }: CreateRunRequest, policy: OverlapPolicy) {
  const limit = concurrency?.limit ?? 0;
  return {
    concurrency_key: concurrency?.key ?? null,
    concurrency_limit: limit === 0 && policy !== 'ALLOW' ? 1 : limit,
    concurrency_policy: policy,
  };
}

/** Undefined when there is nothing in it. */
export function payloadWithDefaults(payload: RunPayload | undefined): RunPayload | undefined {
  if (payload === undefined || payload.content.case === undefined) return undefined;
  if (payload.content.case === 'values' || payload.contentType !== '') return payload;
  return create(RunPayloadSchema, { content: payload.content, contentType: DEFAULT_CONTENT_TYPE });
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/**
 * A name for a run whose caller chose none. It has the form of slot names, so that no caller can choose it for another
 * ad-hoc run, on whatever day.
 */
function unclaimableId(entropy: Entropy): string {
  const random = hash('sha256', entropy.uuid(), 'buffer');
  return `r${Array.from(random.subarray(0, 26), (byte) => ALPHABET[byte & 31]).join('')}`;
}
