import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@carillon/core/domain-error.ts';
import { formatParent, formatScheduleName, type ScheduleName } from '@carillon/core/resource-name.ts';
import { rateAnchorSec, scheduleIdentity } from '@carillon/core/schedule-spec.ts';
import { type Schedule, ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { CreateScheduleRequestSchema } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { RequestValidator } from '@carillon/server';
import { requireWindowWithin } from './run-retention.ts';
import type { MethodContext } from './schedule-method.ts';
import type { DecideNew } from './schedule-store.ts';
import { checkSpec, newRevision, requireFutureSlot } from './spec-check.ts';

/**
 * How a schedule is created from what a caller gave, which has kept the rules of the protos.
 *
 * @throws {DomainError} INVALID_ARGUMENT, UNIMPLEMENTED, and when it is run FAILED_PRECONDITION with the reason NO_FUTURE_SLOT.
 */
export function creationOf(
  { runRetentionDays }: Pick<MethodContext, 'runRetentionDays'>,
  name: ScheduleName,
  given: Schedule,
  active: boolean,
): DecideNew {
  if (given.name !== '' && given.name !== formatScheduleName(name)) {
    throw invalidArgument({
      field: 'schedule.name',
      description: `must be empty or ${formatScheduleName(name)}`,
      reason: 'NAME_MISMATCH',
    });
  }
  const { spec, description, labels } = given;
  if (spec === undefined) throw requiredField('schedule.spec');
  const identity = scheduleIdentity(name);
  const revision = newRevision(spec, checkSpec(spec, identity, 0, 'schedule.spec'));
  requireWindowWithin(runRetentionDays, spec, 'schedule.spec');
  return (instantMicros) => {
    if (active) {
      const recurrence = checkSpec(spec, identity, rateAnchorSec(instantMicros / 1000), 'schedule.spec');
      requireFutureSlot(recurrence, name, instantMicros);
    }
    return { description, labels, revision, active };
  };
}

/**
 * Holds a schedule against the rules that CreateSchedule's request has for it: for what does not come as one.
 *
 * @throws {DomainError} INVALID_ARGUMENT with every violation, at `schedule`.
 */
export function checkRules(validator: RequestValidator, name: ScheduleName, schedule: Schedule): void {
  const request = { parent: formatParent(name), scheduleId: name.scheduleId, schedule };
  validator.check(CreateScheduleRequestSchema, create(CreateScheduleRequestSchema, request));
}

/** A schedule of nothing but what callers may say of it besides its spec. */
export function withoutSpec({ description, labels, etag }: Schedule): Schedule {
  return create(ScheduleSchema, { description, labels, etag });
}

/** The refusal of a request that lacks a field. */
export function requiredField(field: string): Error {
  return invalidArgument({ field, description: 'is required', reason: 'required' });
}
