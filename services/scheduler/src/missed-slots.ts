import type { DueRange } from '@carillon/core/due-ranges.ts';
import { segmentsOf } from '@carillon/core/live-terms.ts';
import type { SpanRecord } from './schedule-record.ts';
import type { Verdict } from './slot.ts';
import { dueOf, newestSlots } from './timing.ts';
import { BEYOND_LIMIT, NOT_CAUGHT_UP, SUPERSEDED } from './verdicts.ts';

/** Slots of a span that fell due while no scheduler led, and are unsettled. */
export interface MissedStretch {
  readonly span: SpanRecord;
  readonly range: DueRange;
  /** Slots up to this nominal time may have been sent already, as an earlier span's. */
  readonly sentThroughMs: number;
}

/** What becomes of a part of such a stretch: it is fired, unless there is a verdict. */
export interface PlannedStretch extends MissedStretch {
  readonly verdict: Verdict | undefined;
}

/**
 * Decides by the catch-up policies of their revisions what becomes of missed slots: the newest are kept, of all spans together. One that is
 * settled or on its way counts among these: another that is older must not take its place when the rest is planned anew, after a change or
 * by the next leader.
 *
 * @param spans the spans whose slots are not stopped, oldest first
 * @param missed stretches of them, in the same order
 * @param liveOf the stretches of time in which slots of a span are live
 */
export function planMissed(
  spans: readonly SpanRecord[],
  missed: readonly MissedStretch[],
  liveOf: (span: SpanRecord) => readonly DueRange[],
): PlannedStretch[] {
  const planned: PlannedStretch[] = [];
  const bySpan = Map.groupBy(missed, ({ span }) => span);
  // What is older than all of them takes nobody's place.
  const lowestMs = missed.reduce(
    (lowest, { range }) => Math.min(lowest, range.after),
    Number.POSITIVE_INFINITY,
  );
  let kept = 0;
  for (const span of spans.toReversed()) {
    const limit = limitOf(span);
    let aboveMs = Number.POSITIVE_INFINITY;
    const countSettled = (afterMs: number): void => {
      if (limit === Number.POSITIVE_INFINITY || !(afterMs < aboveMs)) return;
      kept += countMissed(span, { after: afterMs, through: aboveMs }, liveOf(span), limit - kept);
    };
    for (const stretch of (bySpan.get(span) ?? []).toReversed()) {
      const { after, through } = stretch.range;
      countSettled(through);
      aboveMs = after;
      if (limit === Number.POSITIVE_INFINITY) {
        planned.push({ ...stretch, verdict: undefined });
        continue;
      }
      const newest = newestWithin(span, stretch.range, limit - kept);
      kept += newest.count;
      const cutMs = newest.count > 0 ? dueOf(span.timing, newest.oldest) - 1 : through;
      planned.push(
        { ...stretch, range: { after, through: cutMs }, verdict: verdictOf(span) },
        { ...stretch, range: { after: cutMs, through }, verdict: undefined },
      );
    }
    countSettled(lowestMs);
  }
  return planned;
}

/** How many missed slots of a revision are kept at most. */
function limitOf({ timing }: SpanRecord): number {
  if (timing.catchUpPolicy === 'NONE') return 0;
  return timing.catchUpPolicy === 'LATEST' ? 1 : timing.catchUpLimit;
}

function verdictOf({ timing }: SpanRecord): Verdict {
  if (timing.catchUpPolicy === 'NONE') return NOT_CAUGHT_UP;
  return timing.catchUpPolicy === 'LATEST' ? SUPERSEDED : BEYOND_LIMIT;
}

/** How many slots in the range were missed, up to `atMost`. */
function countMissed(span: SpanRecord, range: DueRange, live: readonly DueRange[], atMost: number): number {
  let count = 0;
  for (const segment of segmentsOf(range, live)) {
    if (!segment.live) count += newestWithin(span, segment, atMost - count).count;
  }
  return count;
}

function newestWithin(
  { timing, fromMs, toMs }: SpanRecord,
  { after, through }: DueRange,
  limit: number,
): ReturnType<typeof newestSlots> {
  return newestSlots(timing, fromMs / 1000, toMs / 1000, after, through, limit);
}
