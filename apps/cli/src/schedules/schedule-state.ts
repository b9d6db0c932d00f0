import {
  type Schedule,
  ScheduleState,
  ScheduleStateSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import type { Style } from '../style.ts';

/** `active`, `paused`, `inactive` or `deleted`. */
export function stateText(schedule: Schedule): string {
  return ScheduleStateSchema.value[schedule.state]?.localName.toLowerCase() ?? `state ${schedule.state}`;
}

/** Colours a text by the schedule's state. */
export function paintState(style: Style, text: string, schedule: Schedule): string {
  switch (schedule.state) {
    case ScheduleState.ACTIVE:
      return style.good(text);
    case ScheduleState.PAUSED:
      return style.warn(text);
    default:
      return style.faint(text);
  }
}
