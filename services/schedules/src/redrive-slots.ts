import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { failedPrecondition, invalidArgument } from '@carillon/core/domain-error.ts';
import { formatScheduleName, parseScheduleName } from '@carillon/core/resource-name.ts';
import type { ScheduleView } from '@carillon/db/tables/schedule-views.ts';
import type { DeadSlot } from '@carillon/db/tables/slot-redrives.ts';
import type { RedriveSlotsRequest } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { timestampOfSeconds } from '@carillon/server/epoch-timestamp.ts';
import { timestampViolations } from '@carillon/server/whole-time.ts';
import { nominalRange } from './nominal-range.ts';
import { requireKeptRuns } from './run-retention.ts';
import { requiredField } from './schedule-content.ts';
import { nameOf } from './schedule-message.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';

/** The most slots that a call takes up. */
const MAX_REDRIVEN = 500;

/** Has dead slots sent again. */
export function redriveSlots(methods: MethodContext): ScheduleMethod<'redriveSlots'> {
  return async (request, context) => {
    const view = await methods.store.get(parseScheduleName(request.name));
    const { nowMs } = await methods.slots.settlement(view);
    const found = await selected(methods, view, request.selection, nowMs);
    const slots = found.slice(0, MAX_REDRIVEN);
    requireKeptRuns(methods.runRetentionDays, slots, nowMs);
    if (!request.dryRun && slots.length > 0) {
      await methods.slots.redrive(view, slots, writeOptions(context, '').actor);
    }
    return {
      nominalTimes: slots.map(({ nominalMs }) => timestampOfSeconds(nominalMs / 1000)),
      truncated: found.length > MAX_REDRIVEN,
    };
  };
}

/** The dead slots that are asked for: of a range one more than is taken up, if there are so many. */
async function selected(
  { slots }: MethodContext,
  view: ScheduleView,
  selection: RedriveSlotsRequest['selection'],
  nowMs: number,
): Promise<DeadSlot[]> {
  switch (selection.case) {
    case 'range': {
      const { fromTime, toTime } = selection.value;
      const { firstSec, lastSec } = nominalRange(fromTime, toTime, nowMs, 'range.');
      return await slots.dead(view, {
        fromMs: firstSec * 1000,
        throughMs: lastSec * 1000,
        limit: MAX_REDRIVEN + 1,
      });
    }
    case 'times':
      return await allDead({ slots }, view, selection.value.nominalTimes);
    case undefined:
      throw requiredField('selection');
  }
}

async function allDead(
  { slots }: Pick<MethodContext, 'slots'>,
  view: ScheduleView,
  times: readonly Timestamp[],
): Promise<DeadSlot[]> {
  const violations = times.flatMap((time, index) =>
    timestampViolations(time, `times.nominal_times[${index}]`, 'seconds'),
  );
  if (violations.length > 0) throw invalidArgument(...violations);
  const nominals = [...new Set(times.map((time) => Number(time.seconds) * 1000))];
  const dead = await slots.dead(view, {
    fromMs: Math.min(...nominals),
    throughMs: Math.max(...nominals),
    nominalMs: nominals,
    limit: MAX_REDRIVEN,
  });
  const found = new Set(dead.map((slot) => slot.nominalMs));
  const missing = nominals.filter((nominalMs) => !found.has(nominalMs));
  const [first] = missing;
  if (first !== undefined) {
    const others = missing.length === 1 ? '' : `, nor are ${missing.length - 1} others`;
    throw failedPrecondition(
      'NOT_DEAD',
      `${new Date(first).toISOString()} is no dead slot of ${formatScheduleName(nameOf(view))}${others}`,
      { nominalTime: new Date(first).toISOString() },
    );
  }
  return dead;
}
