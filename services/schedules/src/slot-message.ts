import { create } from '@bufbuild/protobuf';
import { durationFromMs, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { formatRunName, type ScheduleName } from '@carillon/core/resource-name.ts';
import { PauseSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import {
  type Slot,
  SlotOutcome,
  SlotRangeSchema,
  SlotSchema,
  type UnreadableSpan as UnreadableSpanMessage,
  UnreadableSpanSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { timestampOfSeconds } from '@carillon/server/epoch-timestamp.ts';
import { localTimeAt } from './local-time.ts';
import type { SlotAccount } from './slot-account.ts';
import type { AccountedSlot } from './slot-history.ts';
import type { UnreadableSpan } from './slot-walk.ts';

/** A slot of a schedule as its callers see it. */
export function slotMessage(name: ScheduleName, { slot, account, redriveMs }: AccountedSlot): Slot {
  const { nominalSec, dueMs, span, timeZone } = slot;
  const { outcome, reason, message, record, run } = account;
  const result = create(SlotSchema, {
    nominalTime: timestampOfSeconds(nominalSec),
    dueTime: timestampFromMs(dueMs),
    localTime: localTimeAt(nominalSec, timeZone),
    timeZone,
    revision: span.revision,
    outcome: SlotOutcome[outcome],
    reason,
    message,
    run: runNameOf(name, account),
  });
  const fireMs = run === undefined ? record?.fireMs : run.fireMs;
  if (typeof fireMs === 'number') {
    result.fireTime = wholeMs(fireMs);
    result.lateness = durationFromMs(Math.round(fireMs - dueMs));
  }
  if (record !== undefined) {
    result.recordTime = wholeMs(record.recordMs);
    if (record.slots !== 1) {
      result.settledWith = create(SlotRangeSchema, {
        firstNominalTime: timestampFromMs(record.nominalMs),
        lastNominalTime: timestampFromMs(record.lastNominalMs),
        slots: BigInt(record.slots),
      });
    }
  }
  const paused = reason === 'PAUSED' || (reason === 'STOPPED' && span.stop === 'PAUSED');
  if (paused && span.pauseMs !== null) {
    result.pause = create(PauseSchema, {
      actor: span.pauseActor ?? '',
      pauseTime: wholeMs(span.pauseMs),
      reason: span.pauseReason ?? '',
    });
  }
  if (redriveMs !== undefined) result.redriveTime = wholeMs(redriveMs);
  return result;
}

/** A stretch of time of which no slots can be told, as callers see it. */
export function unreadableSpanMessage({ span, reason }: UnreadableSpan): UnreadableSpanMessage {
  const { revision, fromMs, toMs } = span;
  return create(UnreadableSpanSchema, {
    revision,
    fromTime: wholeMs(fromMs),
    ...(toMs === null ? {} : { toTime: wholeMs(toMs) }),
    reason,
  });
}

function runNameOf(name: ScheduleName, { run, record }: SlotAccount): string {
  if (run !== undefined) return run.name;
  return record === undefined || record.runId === '' ? '' : formatRunName({ ...name, runId: record.runId });
}

function wholeMs(ms: number): Timestamp {
  return timestampFromMs(Math.floor(ms));
}
