import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { DAY_SECONDS, parseTimeOfDay } from '@carillon/core/zone/civil-date.ts';
import { findZone } from '@carillon/core/zone/zone.ts';
import type { ScheduleSpec } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import type { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { Connection } from '../connection.ts';
import { parseInstant } from '../instant.ts';

/**
 * The time of a slot as people give it: an instant, or a time of day (`09:00`), which means the last such time on the wall clock of the
 * schedule's zone. Only the latter asks the server.
 *
 * @throws CliError when it is neither; `option` names it in the message.
 */
export async function slotTime(
  text: string,
  option: string,
  schedule: { readonly name: string; readonly connection: Connection<typeof ScheduleService> },
  nowMs: number,
): Promise<Timestamp> {
  const timeOfDay = text === '' ? undefined : parseTimeOfDay(text);
  if (timeOfDay === undefined) return parseInstant(text, option, nowMs, 'a time of day (09:00), ');
  const { client, call } = schedule.connection;
  const { schedule: found } = await client.getSchedule({ name: schedule.name }, call);
  return timestampFromMs(lastTimeOfDay(timeOfDay, zoneOf(found?.spec), nowMs / 1000) * 1000);
}

/** The last instant up to `nowSec` at which the wall clock of a zone showed a time of day. Epoch seconds, and seconds since midnight. */
export function lastTimeOfDay(timeOfDay: number, timeZone: string, nowSec: number): number {
  const zone = findZone(timeZone);
  const today = Math.floor((nowSec + zone.offsetAt(nowSec)) / DAY_SECONDS);
  for (let day = today; ; day--) {
    const wall = day * DAY_SECONDS + timeOfDay;
    const instant = wall - zone.offsetAt(wall - zone.offsetAt(wall));
    if (instant <= nowSec) return instant;
  }
}

function zoneOf(spec: ScheduleSpec | undefined): string {
  const { pattern } = spec ?? {};
  const timeZone = pattern?.case === 'cron' || pattern?.case === 'calendar' ? pattern.value.timeZone : '';
  return timeZone === '' ? 'UTC' : timeZone;
}
