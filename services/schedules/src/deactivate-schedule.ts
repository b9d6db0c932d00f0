import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { describedSchedule } from './described-schedule.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';
import type { CurrentSchedule, ScheduleEdit } from './schedule-store.ts';

/** Makes no revision active. */
export function deactivateSchedule(methods: MethodContext): ScheduleMethod<'deactivateSchedule'> {
  return async (request, context) => {
    const name = parseScheduleName(request.name);
    const { view } = await methods.store.change(name, writeOptions(context, request.etag), deactivation);
    return { schedule: describedSchedule(methods, view) };
  };
}

function deactivation({ view }: CurrentSchedule): ScheduleEdit | undefined {
  return view.span_state === null ? undefined : { span: { end: 'DEACTIVATED' } };
}
