import { fromBinary } from '@bufbuild/protobuf';
import { dueTime } from '@carillon/core/jitter.ts';
import type { Recurrence } from '@carillon/core/recurrence.ts';
import type { ScheduleName } from '@carillon/core/resource-name.ts';
import { scheduleIdentity } from '@carillon/core/schedule-spec.ts';
import type { SlotSpan } from '@carillon/db/tables/slot-spans.ts';
import { ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { policiesOf } from '@carillon/server/schedule-spec-message.ts';
import { usableRecurrence } from './spec-check.ts';

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

/**
 * The slots of a schedule along its spans, lazily. `spans` stand in the walk's direction, and `anchorSec` is the anchor of a rate without a
 * start.
 *
 * @throws {DomainError} FAILED_PRECONDITION, reason UNUSABLE_SPEC, at a span whose spec this version can make nothing of.
 */
export function* walkSlots(
  name: ScheduleName,
  anchorSec: number,
  spans: readonly SlotSpan[],
  range: WalkRange,
): Generator<WalkedSlot> {
  const identity = scheduleIdentity(name);
  for (const span of spans) {
    const spec = fromBinary(ScheduleSpecSchema, span.timing);
    const recurrence = usableRecurrence(spec, name, anchorSec);
    const { jitterSeconds } = policiesOf(spec);
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
