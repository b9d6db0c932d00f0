import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { invalidArgument } from '@carillon/core/domain-error.ts';
import type { Recurrence } from '@carillon/core/recurrence.ts';
import { type PreviewSlot, previewSlots } from '@carillon/core/recurrence-preview.ts';
import type { DstEffect as CoreDstEffect } from '@carillon/core/recurrence-wall.ts';
import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { rateAnchorSec, scheduleIdentity } from '@carillon/core/schedule-spec.ts';
import { ZONE_DATABASE_VERSION } from '@carillon/core/zone/database-version.ts';
import {
  DstEffect,
  type PreviewedSlot,
  PreviewedSlotSchema,
  type PreviewScheduleRequest,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { timestampOfSeconds } from '@carillon/server/epoch-timestamp.ts';
import { policiesOf, scheduleSpecOf } from '@carillon/server/schedule-spec-message.ts';
import { formatOffset } from './local-time.ts';
import { requiredField } from './schedule-content.ts';
import { nameOf } from './schedule-message.ts';
import type { MethodContext, ScheduleMethod } from './schedule-method.ts';
import { anchorOf } from './schedule-status.ts';
import { checkSpec, usableRecurrence } from './spec-check.ts';

/** How many slots are shown unless the request says otherwise. */
const DEFAULT_COUNT = 10;

const DST_EFFECTS: Readonly<Record<CoreDstEffect, DstEffect>> = {
  NONE: DstEffect.UNSPECIFIED,
  MOVED: DstEffect.MOVED,
  FIRST_PASS: DstEffect.FIRST_OF_TWO,
  SECOND_PASS: DstEffect.SECOND_OF_TWO,
};

/** Computes the slots of a spec, or of an existing schedule, without saving anything. */
export function previewSchedule(methods: MethodContext): ScheduleMethod<'previewSchedule'> {
  return async (request) => {
    const nowMs = methods.clock.now();
    const after = secondsOf(request.fromTime) ?? nowMs / 1000;
    const until = secondsOf(request.toTime);
    if (until !== undefined && until < after) {
      throw invalidArgument({
        field: 'to_time',
        description: 'must not be before from_time',
        reason: 'RANGE',
      });
    }
    const { recurrence, identity, jitterSeconds } = await sourceOf(methods, request, nowMs);
    const count = request.count === 0 ? DEFAULT_COUNT : request.count;
    const slots = [
      ...previewSlots(recurrence, identity, {
        after,
        until,
        limit: count + 1,
        jitterSeconds,
        showExcluded: request.showExcluded,
      }),
    ];
    return {
      slots: slots.slice(0, count).map(slotMessage),
      recurrence: recurrence.describe(),
      truncated: slots.length > count,
      timeZoneDatabaseVersion: ZONE_DATABASE_VERSION,
    };
  };
}

/** What is previewed. */
interface Source {
  readonly recurrence: Recurrence;
  /** What `H` and jitter are hashed from: a spec that belongs to no schedule has no identity. */
  readonly identity: string;
  readonly jitterSeconds: number;
}

async function sourceOf(
  { store }: MethodContext,
  { source }: PreviewScheduleRequest,
  nowMs: number,
): Promise<Source> {
  switch (source.case) {
    case 'spec': {
      const recurrence = checkSpec(source.value, '', rateAnchorSec(nowMs), 'spec');
      return { recurrence, identity: '', jitterSeconds: policiesOf(source.value).jitterSeconds };
    }
    case 'name': {
      const view = await store.get(parseScheduleName(source.value));
      const spec = scheduleSpecOf(view);
      const recurrence = usableRecurrence(spec, nameOf(view), anchorOf(view, nowMs));
      return {
        recurrence,
        identity: scheduleIdentity(nameOf(view)),
        jitterSeconds: policiesOf(spec).jitterSeconds,
      };
    }
    case undefined:
      throw requiredField('source');
  }
}

function slotMessage(slot: PreviewSlot): PreviewedSlot {
  return create(PreviewedSlotSchema, {
    nominalTime: timestampOfSeconds(slot.nominal),
    dueTime: timestampFromMs(slot.dueMs),
    localTime: slot.local + formatOffset(slot.offsetSeconds),
    dstEffect: DST_EFFECTS[slot.dstEffect],
    excludedBy: slot.excludedBy ?? '',
  });
}

function secondsOf(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : Number(time.seconds) + time.nanos / 1_000_000_000;
}
