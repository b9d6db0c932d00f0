import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { MONTHS } from '@carillon/core/cron/cron-field.ts';
import { formatWall } from '@carillon/core/zone/civil-date.ts';
import { findZone } from '@carillon/core/zone/zone.ts';
import { type Slot, SlotOutcome } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { printable } from '../display-text.ts';
import { roughDuration } from '../duration.ts';
import { shortName } from '../resource-argument.ts';

/** What became of a slot, in a sentence or two, in the slot's own zone. */
export function slotSentence(slot: Slot, nowMs: number): string {
  const when = `at ${whenText(slot.nominalTime, slot.timeZone, nowMs)}`;
  switch (slot.outcome) {
    case SlotOutcome.FIRED:
      return firedSentence(slot, when);
    case SlotOutcome.SKIPPED:
      return `It did not run ${when}: ${skippedText(slot, nowMs)}${togetherText(slot, nowMs)}.`;
    case SlotOutcome.MISSED:
      return `It did not run ${when}: ${printable(slot.message)} (${printable(slot.reason)})${togetherText(slot, nowMs)}.`;
    case SlotOutcome.DEAD:
      return `It did not run ${when}: no run could be created (${printable(slot.reason)}: ${printable(slot.message)}). ${redriveText(slot)}`;
    case SlotOutcome.PENDING:
      return pendingSentence(slot, when, nowMs);
    default:
      return `Whether it ran ${when} cannot be told any more: ${printable(slot.message)}.`;
  }
}

/** `09:00 on 21 November (Europe/Berlin)`: seconds and year only where they say something. */
export function whenText(time: Timestamp | undefined, timeZone: string, nowMs: number): string {
  const { day, clock } = wallOf(time, timeZone, nowMs);
  return `${clock} on ${day} (${printable(timeZone)})`;
}

function firedSentence(slot: Slot, when: string): string {
  const run = slot.run === '' ? '' : ` The run is ${shortName(printable(slot.run))}.`;
  const lateMs = slot.lateness === undefined ? undefined : durationMs(slot.lateness);
  if (slot.reason === 'REDRIVEN') {
    const late = lateMs === undefined ? '' : `, ${roughDuration(lateMs)} after it fell due`;
    return `The slot ${when} was dead at first, and was redriven${late}.${run}`;
  }
  const late =
    lateMs === undefined ? 'a run exists' : `it was fired ${roughDuration(lateMs)} after it fell due`;
  return `It ran ${when}: ${late}.${run}`;
}

function skippedText(slot: Slot, nowMs: number): string {
  const { pause } = slot;
  if (pause === undefined) return printable(slot.message);
  const { clock, day } = wallOf(pause.pauseTime, slot.timeZone, nowMs);
  const sameDay = day === wallOf(slot.nominalTime, slot.timeZone, nowMs).day;
  const reason = pause.reason === '' ? '' : ` (“${printable(pause.reason)}”)`;
  const actor = pause.actor === '' ? '' : ` by ${printable(pause.actor)}`;
  return `the schedule was paused${actor} at ${clock}${sameDay ? '' : ` on ${day}`}${reason}`;
}

function togetherText({ settledWith, timeZone }: Slot, nowMs: number): string {
  if (settledWith === undefined) return '';
  const { slots, firstNominalTime, lastNominalTime } = settledWith;
  const first = whenText(firstNominalTime, timeZone, nowMs);
  const which = slots === 0n ? 'all that had not run' : `${slots} slots in all`;
  return `, as were ${which} from ${first} to ${whenText(lastNominalTime, timeZone, nowMs)}`;
}

function redriveText(slot: Slot): string {
  if (slot.redriveTime !== undefined) return 'It is being sent again.';
  return '“carillon schedules redrive” sends it again.';
}

function pendingSentence(slot: Slot, when: string, nowMs: number): string {
  const dueMs = slot.dueTime === undefined ? nowMs : timestampMs(slot.dueTime);
  if (slot.reason === 'NOT_DUE')
    return `It has not run ${when} yet: that is due in ${roughDuration(dueMs - nowMs)}.`;
  const why = slot.pause === undefined ? printable(slot.message) : skippedText(slot, nowMs);
  const late = dueMs < nowMs ? `, ${roughDuration(nowMs - dueMs)} after it fell due` : '';
  return `It has not run ${when} yet${late}: ${why} (${printable(slot.reason)}).`;
}

function wallOf(
  time: Timestamp | undefined,
  timeZone: string,
  nowMs: number,
): { readonly day: string; readonly clock: string } {
  const zone = findZone(timeZone === '' ? 'UTC' : timeZone);
  const wallAt = (sec: number): string => formatWall(sec + zone.offsetAt(sec));
  const wall = wallAt(time === undefined ? 0 : Number(time.seconds));
  const year = wall.slice(0, 4);
  const month = MONTHS[Number(wall.slice(5, 7)) - 1] ?? '';
  const sameYear = year === wallAt(Math.floor(nowMs / 1000)).slice(0, 4);
  const seconds = wall.slice(17, 19);
  return {
    day: `${Number(wall.slice(8, 10))} ${month}${sameYear ? '' : ` ${year}`}`,
    clock: seconds === '00' ? wall.slice(11, 16) : wall.slice(11, 19),
  };
}
