import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { describedSchedule } from './described-schedule.ts';
import type { MethodContext, ScheduleMethod } from './schedule-method.ts';

/** Reads a schedule with its status. */
export function getSchedule(methods: MethodContext): ScheduleMethod<'getSchedule'> {
  return async (request) => {
    const view = await methods.store.get(parseScheduleName(request.name));
    return { schedule: describedSchedule(methods, view) };
  };
}
