import { failedPrecondition } from '@carillon/core/domain-error.ts';
import { formatScheduleName, parseScheduleName } from '@carillon/core/resource-name.ts';
import { describedSchedule } from './described-schedule.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';
import type { CurrentSchedule, ScheduleEdit } from './schedule-store.ts';

/** Stops an active schedule from firing, and keeps its active revision. */
export function pauseSchedule(methods: MethodContext): ScheduleMethod<'pauseSchedule'> {
  return async (request, context) => {
    const name = parseScheduleName(request.name);
    const { view } = await methods.store.change(name, writeOptions(context, request.etag), (current) =>
      pause(current, request.reason),
    );
    return { schedule: describedSchedule(methods, view) };
  };
}

function pause({ name, view }: CurrentSchedule, reason: string): ScheduleEdit | undefined {
  if (view.span_state === 'PAUSED') return undefined;
  if (view.active_revision === null) {
    throw failedPrecondition(
      'NOT_ACTIVE',
      `${formatScheduleName(name)} is not active, so there is nothing to pause`,
    );
  }
  return { span: { end: 'PAUSED', begin: { revision: view.active_revision, state: 'PAUSED', reason } } };
}
