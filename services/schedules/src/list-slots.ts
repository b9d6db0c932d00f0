import { decodePageToken, effectivePageSize, encodePageToken } from '@carillon/core/page-token.ts';
import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { SlotOutcome } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { nominalRange } from './nominal-range.ts';
import type { MethodContext, ScheduleMethod } from './schedule-method.ts';
import type { SlotAccount } from './slot-account.ts';
import { slotMessage, unreadableSpanMessage } from './slot-message.ts';

const OUTCOMES: ReadonlyMap<SlotOutcome, SlotAccount['outcome']> = new Map([
  [SlotOutcome.PENDING, 'PENDING'],
  [SlotOutcome.FIRED, 'FIRED'],
  [SlotOutcome.SKIPPED, 'SKIPPED'],
  [SlotOutcome.MISSED, 'MISSED'],
  [SlotOutcome.DEAD, 'DEAD'],
  [SlotOutcome.UNKNOWN, 'UNKNOWN'],
]);

/** Lists the slots of a schedule with what became of each. */
export function listSlots({ store, slots: history }: MethodContext): ScheduleMethod<'listSlots'> {
  return async ({ name: text, fromTime, toTime, pageSize, pageToken, outcomes, orderBy }) => {
    const name = parseScheduleName(text);
    const descending = orderBy !== 'nominal_time';
    const request = [
      text,
      String(fromTime?.seconds ?? ''),
      fromTime?.nanos ?? 0,
      String(toTime?.seconds ?? ''),
      toTime?.nanos ?? 0,
      outcomes.join(),
      descending,
    ];
    const place = decodePageToken(pageToken, request, ['integer'])?.[0];
    const view = await store.get(name);
    const { slots, unreadable, next } = await history.page(view, (nowMs) => {
      const { firstSec, lastSec } = nominalRange(fromTime, toTime, nowMs);
      return {
        afterSec: Math.max(firstSec - 1, descending ? Number.NEGATIVE_INFINITY : (place ?? firstSec - 1)),
        throughSec: Math.min(lastSec, descending && place !== undefined ? place - 1 : lastSec),
        descending,
        limit: effectivePageSize(pageSize),
        outcomes:
          outcomes.length === 0
            ? undefined
            : new Set(outcomes.flatMap((outcome) => OUTCOMES.get(outcome) ?? [])),
      };
    });
    return {
      slots: slots.map((slot) => slotMessage(name, slot)),
      unreadableSpans: unreadable.map(unreadableSpanMessage),
      nextPageToken: next === undefined ? '' : encodePageToken([next], request),
    };
  };
}
