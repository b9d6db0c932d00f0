import { notFound } from '@carillon/core/domain-error.ts';
import {
  formatScheduleName,
  parseScheduleName,
  SCHEDULE_REVISION_RESOURCE,
} from '@carillon/core/resource-name.ts';
import { scheduleSpecOf } from '@carillon/server/schedule-spec-message.ts';
import { describedSchedule } from './described-schedule.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';
import { anchorOf } from './schedule-status.ts';
import type { CurrentSchedule, ScheduleEdit } from './schedule-store.ts';
import { requireFutureSlot, usableRecurrence } from './spec-check.ts';

/** Makes a revision the active one, and every other one inactive. */
export function activateSchedule(methods: MethodContext): ScheduleMethod<'activateSchedule'> {
  return async (request, context) => {
    const name = parseScheduleName(request.name);
    const { view } = await methods.store.change(name, writeOptions(context, request.etag), (current) =>
      activation(current, request.revision === 0 ? current.view.revision : request.revision),
    );
    return { schedule: describedSchedule(methods, view) };
  };
}

async function activation(current: CurrentSchedule, revision: number): Promise<ScheduleEdit | undefined> {
  const { name, view } = current;
  if (view.active_revision === revision) return undefined;
  const row = await current.revision(revision);
  if (row === undefined)
    throw notFound(SCHEDULE_REVISION_RESOURCE, `${formatScheduleName(name)}/revisions/${revision}`);
  const recurrence = usableRecurrence(
    scheduleSpecOf(row),
    name,
    anchorOf(view, current.instantMicros / 1000),
  );
  requireFutureSlot(recurrence, name, current.instantMicros);
  if (view.span_state === null) return { span: { begin: { revision, state: 'ACTIVE' } } };
  return { span: { end: 'REVISED', begin: { revision, state: view.span_state } } };
}
