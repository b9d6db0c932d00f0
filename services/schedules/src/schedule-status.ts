import { create } from '@bufbuild/protobuf';
import { SpecError } from '@carillon/core/recurrence-error.ts';
import { rateAnchorSec } from '@carillon/core/schedule-spec.ts';
import { ZONE_DATABASE_VERSION } from '@carillon/core/zone/database-version.ts';
import type { ScheduleView } from '@carillon/db/tables/schedule-views.ts';
import {
  type ScheduleSpec,
  type ScheduleStatus,
  ScheduleStatusSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { timestampOfSeconds } from '@carillon/server/epoch-timestamp.ts';
import { nameOf } from './schedule-message.ts';
import { storedRecurrence } from './spec-check.ts';

/** How many slots a status shows. */
const NEXT_SLOTS = 5;

/**
 * What lies ahead of a schedule at an instant, in epoch milliseconds, and what is wrong with it. A stored spec that this version
 * can make nothing of is what is wrong with it: the scheduler quarantines it for the same reason.
 */
export function scheduleStatus(view: ScheduleView, spec: ScheduleSpec, nowMs: number): ScheduleStatus {
  const status = create(ScheduleStatusSchema, {
    quarantineReason: view.quarantine_reason ?? '',
    timeZoneDatabaseVersion: ZONE_DATABASE_VERSION,
  });
  try {
    const recurrence = storedRecurrence(spec, nameOf(view), anchorOf(view, nowMs));
    status.recurrence = recurrence.describe();
    if (view.span_state === 'ACTIVE') {
      status.nextSlotTimes = Array.from(
        recurrence.between(nowMs / 1000, Number.POSITIVE_INFINITY, NEXT_SLOTS),
        timestampOfSeconds,
      );
    }
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    status.quarantineReason ||= error.message;
  }
  return status;
}

/** The anchor of a rate without a start, in epoch seconds: the first activation, or if there was none yet, one at that instant. */
export function anchorOf(view: Pick<ScheduleView, 'anchor_micros'>, instantMs: number): number {
  return rateAnchorSec(view.anchor_micros === null ? instantMs : view.anchor_micros / 1000);
}
