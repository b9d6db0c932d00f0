import { invalidArgument } from '@carillon/core/domain-error.ts';
import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { scheduleIdentity } from '@carillon/core/schedule-spec.ts';
import type { NewRevision } from '@carillon/db/tables/schedule-revisions.ts';
import type { Schedule, ScheduleSpec } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ScheduleChange } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { runSpecBytes } from '@carillon/server/run-spec-message.ts';
import { timingBytes } from '@carillon/server/schedule-spec-message.ts';
import { describedSchedule } from './described-schedule.ts';
import { requireWindowWithin } from './run-retention.ts';
import { checkRules, creationOf, requiredField, withoutSpec } from './schedule-content.ts';
import { scheduleMessage } from './schedule-message.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';
import { anchorOf } from './schedule-status.ts';
import type { CurrentSchedule, ScheduleEdit } from './schedule-store.ts';
import { checkSpec, newRevision, requireFutureSlot } from './spec-check.ts';
import { applyMask, type ResolvedMask, resolveMask } from './update-mask.ts';

const CHANGES = {
  CREATED: ScheduleChange.CREATED,
  UPDATED: ScheduleChange.UPDATED,
  UNCHANGED: ScheduleChange.UNCHANGED,
} as const;

/** Changes a schedule; a changed spec becomes a new revision, which takes the active one's place. */
export function updateSchedule(methods: MethodContext): ScheduleMethod<'updateSchedule'> {
  const { store, validator } = methods;
  return async (request, context) => {
    const given = request.schedule;
    if (given === undefined) throw requiredField('schedule');
    const name = parseScheduleName(given.name, 'schedule.name');
    const mask = resolveMask(request.updateMask?.paths ?? []);
    if (!/^\d{0,20}$/.test(given.etag)) {
      throw invalidArgument({
        field: 'schedule.etag',
        description: 'is no etag of a schedule',
        reason: 'ETAG',
      });
    }
    const options = writeOptions(context, given.etag, request.validateOnly);
    const edit = (current: CurrentSchedule) => editOf(methods, current, given, mask);
    const { view, change } = request.allowMissing
      ? await store.put(name, options, edit, (instantMicros) => {
          checkRules(validator, name, given);
          return creationOf(methods, name, given, true)(instantMicros);
        })
      : await store.change(name, options, edit);
    return { schedule: describedSchedule(methods, view), change: CHANGES[change] };
  };
}

/** What an update makes of a schedule; undefined if nothing. */
function editOf(
  { validator, runRetentionDays }: MethodContext,
  current: CurrentSchedule,
  given: Schedule,
  mask: ResolvedMask,
): ScheduleEdit | undefined {
  const before = scheduleMessage(current.view);
  const after = applyMask(before, given, mask);
  if (after.spec === undefined) throw requiredField('schedule.spec');
  const specChanged = before.spec === undefined || !sameSpec(before.spec, after.spec);
  // What is stored kept the rules of its time, and is not held against newer ones for the sake of another field.
  checkRules(validator, current.name, specChanged ? after : withoutSpec(after));
  if (specChanged) requireWindowWithin(runRetentionDays, after.spec, 'schedule.spec');
  const edit: ScheduleEdit = {
    description: after.description === before.description ? undefined : after.description,
    labels: sameLabels(before.labels, after.labels) ? undefined : after.labels,
    ...(specChanged ? revisionEdit(current, after.spec) : {}),
  };
  return Object.values(edit).every((value) => value === undefined) ? undefined : edit;
}

/** A new revision, which takes the place of the active one, if there is one, in the state that this one has. */
function revisionEdit({ name, view, instantMicros }: CurrentSchedule, spec: ScheduleSpec): ScheduleEdit {
  const anchor = anchorOf(view, instantMicros / 1000);
  const recurrence = checkSpec(spec, scheduleIdentity(name), anchor, 'schedule.spec');
  const revision: NewRevision = newRevision(spec, recurrence);
  if (view.span_state === null) return { revision };
  requireFutureSlot(recurrence, name, instantMicros);
  return {
    revision,
    span: { end: 'REVISED', begin: { revision: view.revision + 1, state: view.span_state } },
  };
}

function sameSpec(before: ScheduleSpec, after: ScheduleSpec): boolean {
  if (Buffer.compare(timingBytes(before), timingBytes(after)) !== 0) return false;
  if (before.run === undefined || after.run === undefined) return before.run === after.run;
  return Buffer.compare(runSpecBytes(before.run), runSpecBytes(after.run)) === 0;
}

function sameLabels(
  before: Readonly<Record<string, string>>,
  after: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(before);
  return keys.length === Object.keys(after).length && keys.every((key) => before[key] === after[key]);
}
