import { fromBinary } from '@bufbuild/protobuf';
import { type FieldViolation, failedPrecondition, invalidArgument } from '@carillon/core/domain-error.ts';
import { compileRecurrence, type Recurrence } from '@carillon/core/recurrence.ts';
import { SpecError } from '@carillon/core/recurrence-error.ts';
import { formatScheduleName, type ScheduleName } from '@carillon/core/resource-name.ts';
import { scheduleIdentity } from '@carillon/core/schedule-spec.ts';
import type { NewRevision } from '@carillon/db/tables/schedule-revisions.ts';
import { type ScheduleSpec, ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { runSpecBytes, runSpecViolations } from '@carillon/server/run-spec-message.ts';
import { policiesOf, recurrenceSpecOf, timingBytes } from '@carillon/server/schedule-spec-message.ts';
import { durationViolations, timestampViolations } from '@carillon/server/whole-time.ts';

/**
 * Checks what the rules in the protos cannot say of a spec that has passed them, and compiles it. `path` is where it stands in
 * the request; `identity` is what `H` is hashed from; `anchor` that of a rate without a start, in epoch seconds.
 *
 * @throws {DomainError} INVALID_ARGUMENT with every violation.
 */
export function checkSpec(spec: ScheduleSpec, identity: string, anchor: number, path: string): Recurrence {
  const violations = [...timeViolations(spec, path), ...inputViolations(spec, path)];
  const compiled = violations.length > 0 ? undefined : compile(spec, identity, anchor, path);
  if (compiled === undefined || Array.isArray(compiled))
    throw invalidArgument(...violations, ...(compiled ?? []));
  return compiled;
}

/** A stored spec of which this version can make nothing, with the reason. */
export class UnreadableSpecError extends Error {
  override readonly name = 'UnreadableSpecError';
}

/** What a stored spec without its run says of slots. */
export interface StoredTiming {
  readonly recurrence: Recurrence;
  readonly jitterSeconds: number;
}

/** Reads a stored spec without its run, in the protobuf binary form. @throws {UnreadableSpecError} */
export function storedTiming(bytes: Uint8Array, name: ScheduleName, anchor: number): StoredTiming {
  const spec = decodedTiming(bytes);
  try {
    return {
      recurrence: storedRecurrence(spec, name, anchor),
      jitterSeconds: policiesOf(spec).jitterSeconds,
    };
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    throw new UnreadableSpecError(error.message, { cause: error });
  }
}

function decodedTiming(bytes: Uint8Array): ScheduleSpec {
  try {
    return fromBinary(ScheduleSpecSchema, bytes);
  } catch (error) {
    // Whatever the decoder throws, it is about the bytes.
    throw new UnreadableSpecError('what is stored is no spec', { cause: error });
  }
}

/** The recurrence of a spec that was stored. @throws {SpecError} if this version can make nothing of it. */
export function storedRecurrence(spec: ScheduleSpec, name: ScheduleName, anchor: number): Recurrence {
  return compileRecurrence(recurrenceSpecOf(spec, anchor), scheduleIdentity(name));
}

/** The same, for a method that is of no use without it. @throws {DomainError} FAILED_PRECONDITION, reason UNUSABLE_SPEC */
export function usableRecurrence(spec: ScheduleSpec, name: ScheduleName, anchor: number): Recurrence {
  try {
    return storedRecurrence(spec, name, anchor);
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    throw failedPrecondition('UNUSABLE_SPEC', `the stored spec cannot fire: ${error.message}`);
  }
}

/** @throws {DomainError} FAILED_PRECONDITION, reason NO_FUTURE_SLOT, when no slot lies after an instant in epoch microseconds. */
export function requireFutureSlot(recurrence: Recurrence, name: ScheduleName, instantMicros: number): void {
  if (recurrence.next(instantMicros / 1_000_000) !== Number.POSITIVE_INFINITY) return;
  throw failedPrecondition('NO_FUTURE_SLOT', `no slot lies ahead: ${recurrence.describe()}`, {
    schedule: formatScheduleName(name),
    activationTime: new Date(instantMicros / 1000).toISOString(),
  });
}

/** A checked spec as it is stored. Equal specs are equal bytes. */
export function newRevision(spec: ScheduleSpec, recurrence: Recurrence): NewRevision {
  if (spec.run === undefined) throw new RangeError('a checked spec has a run');
  return {
    timing: timingBytes(spec),
    run: runSpecBytes(spec.run),
    task: spec.run.task,
    timeZone: recurrence.timeZone,
  };
}

function timeViolations(spec: ScheduleSpec, path: string): FieldViolation[] {
  const { pattern, startTime, endTime } = spec;
  const violations = [
    ...timestampViolations(startTime, `${path}.start_time`, 'seconds'),
    ...timestampViolations(endTime, `${path}.end_time`, 'seconds'),
    ...durationViolations(spec.jitter, `${path}.jitter`, 'milliseconds'),
    ...durationViolations(spec.catchUp?.window, `${path}.catch_up.window`, 'milliseconds'),
  ];
  if (pattern.case === 'at') violations.push(...timestampViolations(pattern.value, `${path}.at`, 'seconds'));
  if (pattern.case === 'rate') {
    violations.push(...durationViolations(pattern.value.interval, `${path}.rate.interval`, 'seconds'));
  }
  if (startTime !== undefined && endTime !== undefined && endTime.seconds <= startTime.seconds) {
    violations.push({
      field: `${path}.end_time`,
      description: 'must be after start_time',
      reason: 'END_BEFORE_START',
    });
  }
  return violations;
}

function inputViolations(spec: ScheduleSpec, path: string): FieldViolation[] {
  if (spec.run === undefined) return [];
  const violations = runSpecViolations(spec.run, `${path}.run`);
  if (spec.nominalTimeInput !== '' && spec.run.inputs?.content.case === 'data') {
    const description = 'is set in run.inputs.values, and so not allowed beside run.inputs.data';
    violations.push({ field: `${path}.nominal_time_input`, description, reason: 'NOMINAL_TIME_IN_DATA' });
  }
  return violations;
}

function compile(
  spec: ScheduleSpec,
  identity: string,
  anchor: number,
  path: string,
): Recurrence | FieldViolation[] {
  try {
    return compileRecurrence(recurrenceSpecOf(spec, anchor), identity);
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return [{ field: `${path}.${fieldOf(error, spec)}`, description: error.message, reason: error.kind }];
  }
}

/** Where in the spec an error of its recurrence belongs. */
function fieldOf(error: SpecError, { pattern }: ScheduleSpec): string {
  if (error.field === 'start' || error.field === 'end') return `${error.field}_time`;
  if (error.field.startsWith('exclusion')) return 'exclusions';
  if (pattern.case === 'rate') return 'rate.interval';
  if (pattern.case !== 'cron') return pattern.case ?? 'pattern';
  return CRON_FIELDS.get(error.field) ?? 'cron.expression';
}

const CRON_FIELDS: ReadonlyMap<string, string> = new Map([
  ['time zone', 'cron.time_zone'],
  ['dialect', 'cron.dialect'],
  ['dst gap', 'cron.dst_gap'],
  ['dst overlap', 'cron.dst_overlap'],
]);
