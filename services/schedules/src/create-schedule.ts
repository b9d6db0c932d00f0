import { parseParent } from '@carillon/core/resource-name.ts';
import { describedSchedule } from './described-schedule.ts';
import { creationOf, requiredField } from './schedule-content.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';

/** Creates a schedule and activates its first revision, unless told `inactive`. */
export function createSchedule(methods: MethodContext): ScheduleMethod<'createSchedule'> {
  return async (request, context) => {
    const name = { ...parseParent(request.parent), scheduleId: request.scheduleId };
    if (request.schedule === undefined) throw requiredField('schedule');
    const creation = creationOf(methods, name, request.schedule, !request.inactive);
    // An etag is of a schedule that exists: here it has nothing to be compared with.
    const { view } = await methods.store.create(
      name,
      writeOptions(context, '', request.validateOnly),
      creation,
    );
    return { schedule: describedSchedule(methods, view) };
  };
}
