import { dueTime } from '@carillon/core/jitter.ts';
import type { Recurrence } from '@carillon/core/recurrence.ts';
import type { ScheduleName } from '@carillon/core/resource-name.ts';
import { scheduleIdentity } from '@carillon/core/schedule-spec.ts';
import type { SlotSpan } from '@carillon/db/tables/slot-spans.ts';
import { type StoredTiming, storedTiming, UnreadableSpecError } from './spec-check.ts';

/** A slot, in the span that holds its nominal time. */
export interface WalkedSlot {
  readonly nominalSec: number;
  /** When it falls due, in epoch milliseconds. */
  readonly dueMs: number;
  readonly span: SlotSpan;
  /** The zone of its revision's local times. */
  readonly timeZone: string;
}

/** Where to walk: nominal times in epoch seconds, after one and up to another. */
export interface WalkRange {
  readonly afterSec: number;
  readonly throughSec: number;
  readonly descending: boolean;
}

/** A span that no slots can be told of. */
export interface UnreadableSpan {
  readonly span: SlotSpan;
  /** What is wrong with its spec. */
  readonly reason: string;
}

/**
 * The slots of a schedule along its spans, lazily. `spans` stand in the walk's direction, and `anchorSec` is the anchor of a rate without a
 * start. A span whose spec this version can make nothing of is passed over, and `onUnreadable` is told.
 */
export function* walkSlots(
  name: ScheduleName,
  anchorSec: number,
  spans: readonly SlotSpan[],
  range: WalkRange,
  onUnreadable: (unreadable: UnreadableSpan) => void,
): Generator<WalkedSlot> {
  const identity = scheduleIdentity(name);
  for (const span of spans) {
    let timing: StoredTiming;
    try {
      timing = storedTiming(span.timing, name, anchorSec);
    } catch (error) {
      if (!(error instanceof UnreadableSpecError)) throw error;
      onUnreadable({ span, reason: error.message });
      continue;
    }
    const { recurrence, jitterSeconds } = timing;
    const { timeZone } = recurrence;
    const afterSec = Math.max(range.afterSec, span.fromMs / 1000);
    const throughSec = Math.min(range.throughSec, (span.toMs ?? Number.POSITIVE_INFINITY) / 1000);
    const nominals = range.descending
      ? descending(recurrence, afterSec, throughSec)
      : recurrence.between(afterSec, throughSec);
    for (const nominalSec of nominals) {
      yield {
        nominalSec,
        dueMs: dueTime(recurrence, nominalSec, jitterSeconds, identity),
        span,
        timeZone,
      };
    }
  }
}

function* descending(recurrence: Recurrence, afterSec: number, throughSec: number): Generator<number> {
  for (
    let nominal = recurrence.previous(Math.floor(throughSec) + 1);
    nominal > afterSec;
    nominal = recurrence.previous(nominal)
  ) {
    yield nominal;
  }
}
