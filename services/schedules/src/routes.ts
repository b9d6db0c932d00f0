import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { activateSchedule } from './activate-schedule.ts';
import { createSchedule } from './create-schedule.ts';
import { deactivateSchedule } from './deactivate-schedule.ts';
import { deleteSchedule } from './delete-schedule.ts';
import { getSchedule } from './get-schedule.ts';
import { listScheduleRevisions } from './list-schedule-revisions.ts';
import { listSchedules } from './list-schedules.ts';
import { listSlots } from './list-slots.ts';
import { pauseSchedule } from './pause-schedule.ts';
import { previewSchedule } from './preview-schedule.ts';
import { redriveSlots } from './redrive-slots.ts';
import type { MethodContext } from './schedule-method.ts';
import { unpauseSchedule } from './unpause-schedule.ts';
import { updateSchedule } from './update-schedule.ts';

/** Registers the RPCs of the schedules service. The whole of it is typed, so that a missing method does not compile. */
export function scheduleRoutes(context: MethodContext): (router: ConnectRouter) => void {
  const methods: ServiceImpl<typeof ScheduleService> = {
    createSchedule: createSchedule(context),
    getSchedule: getSchedule(context),
    listSchedules: listSchedules(context),
    updateSchedule: updateSchedule(context),
    listScheduleRevisions: listScheduleRevisions(context),
    activateSchedule: activateSchedule(context),
    deactivateSchedule: deactivateSchedule(context),
    pauseSchedule: pauseSchedule(context),
    unpauseSchedule: unpauseSchedule(context),
    deleteSchedule: deleteSchedule(context),
    previewSchedule: previewSchedule(context),
    listSlots: listSlots(context),
    redriveSlots: redriveSlots(context),
  };
  return (router) => {
    router.service(ScheduleService, methods);
  };
}
