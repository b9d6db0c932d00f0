import type { SpanBounds } from './schedule-record.ts';
import { type Verdict, verdictMessage } from './slot.ts';

/** A slot came to its turn later than its catch-up window allows. */
export const BEYOND_WINDOW: Verdict = {
  outcome: 'MISSED',
  reason: 'BEYOND_WINDOW',
  message: 'it was later than the catch-up window allows',
};

/** A slot was missed, and its schedule catches nothing up. */
export const NOT_CAUGHT_UP: Verdict = {
  outcome: 'MISSED',
  reason: 'CATCH_UP_NONE',
  message: 'no scheduler led when it fell due, and its schedule catches nothing up',
};

/** A slot was missed, and a newer one was too. */
export const SUPERSEDED: Verdict = {
  outcome: 'MISSED',
  reason: 'SUPERSEDED',
  message: 'no scheduler led when it fell due, and its schedule catches up the newest slot alone',
};

/** More slots were missed than the schedule catches up, and a slot is not among the newest. */
export const BEYOND_LIMIT: Verdict = {
  outcome: 'MISSED',
  reason: 'BEYOND_LIMIT',
  message: 'more slots were missed than its schedule catches up',
};

/** What a revision held that cannot be read, and was not repaired while that could still have fired. */
export const UNREADABLE: Verdict = {
  outcome: 'MISSED',
  reason: 'UNREADABLE',
  message: 'its revision could not be read until it was later than the catch-up window allows',
};

/** The verdict on slots that a stop came before. */
export function stopVerdict(reason: string): Verdict {
  return {
    outcome: 'SKIPPED',
    reason,
    message: `the schedule was ${reason.toLowerCase()} before the slot was sent`,
  };
}

/** A verdict's message on slots whose runs, if they had any, are not kept any more. @param which of the slots, in words */
export function noteRetention(message: string, which: string): string {
  return verdictMessage(
    `whether ${which} ran before can no longer be told, for runs are not kept as long; ${message}`,
  );
}

type StopReason = 'PAUSED' | 'DEACTIVATED' | 'DELETED';

/** The stop by which the unsettled slots of a span are skipped: its own end, or the first later one that is a stop. */
export function firstStopAfter(spans: readonly SpanBounds[], span: SpanBounds): SpanBounds | undefined {
  return spans.find((other) => other.span >= span.span && isStop(other.endReason));
}

function isStop(reason: SpanBounds['endReason']): reason is StopReason {
  return reason === 'PAUSED' || reason === 'DEACTIVATED' || reason === 'DELETED';
}
