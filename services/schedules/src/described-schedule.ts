import type { ScheduleView } from '@carillon/db/tables/schedule-views.ts';
import type { Schedule } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { scheduleMessage } from './schedule-message.ts';
import type { MethodContext } from './schedule-method.ts';
import { scheduleStatus } from './schedule-status.ts';

/** A schedule as methods answer it one by one: with its status as of now. */
export function describedSchedule({ clock }: MethodContext, view: ScheduleView): Schedule {
  const message = scheduleMessage(view);
  // A view always has a spec; only a caller's message may lack it.
  const { spec } = message;
  if (spec !== undefined) message.status = scheduleStatus(view, spec, clock.now());
  return message;
}
