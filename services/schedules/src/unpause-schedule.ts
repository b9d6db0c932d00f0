import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { describedSchedule } from './described-schedule.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';
import type { CurrentSchedule, ScheduleEdit } from './schedule-store.ts';

/** Lets a paused schedule fire again, from now on. */
export function unpauseSchedule(methods: MethodContext): ScheduleMethod<'unpauseSchedule'> {
  return async (request, context) => {
    const name = parseScheduleName(request.name);
    const { view } = await methods.store.change(name, writeOptions(context, request.etag), unpause);
    return { schedule: describedSchedule(methods, view) };
  };
}

function unpause({ view }: CurrentSchedule): ScheduleEdit | undefined {
  if (view.span_state !== 'PAUSED' || view.active_revision === null) return undefined;
  return { span: { end: 'UNPAUSED', begin: { revision: view.active_revision, state: 'ACTIVE' } } };
}
