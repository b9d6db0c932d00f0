import type { DueRange } from './due-ranges.ts';

/** A leadership: from when on it was ready, and its end by release or expiry. Epoch milliseconds. */
export interface Term {
  readonly readyMs: number;
  readonly endMs: number;
}

/** Slots that fell due in a gap of at most this between two terms are live all the same. */
export const LIVE_GAP_MS = 10_000;

/** A stretch of due times whose slots are all live, or all missed. */
export interface LiveSegment extends DueRange {
  readonly live: boolean;
}

/**
 * The stretches in which slots are live: the terms, and the short gaps between them. The last one is open-ended: it is the
 * present term, and lasts as long as its holder.
 *
 * @param earlier the terms before the present one, in any order
 * @param readyMs from when on the present term is ready
 */
export function liveRanges(earlier: readonly Term[], readyMs: number): DueRange[] {
  const terms = [...earlier, { readyMs, endMs: Number.POSITIVE_INFINITY }].sort(
    (a, b) => a.readyMs - b.readyMs,
  );
  const ranges: DueRange[] = [];
  for (const term of terms) {
    if (term.endMs <= term.readyMs) continue;
    const last = ranges.at(-1);
    if (last && term.readyMs - last.through <= LIVE_GAP_MS) {
      ranges[ranges.length - 1] = { after: last.after, through: Math.max(last.through, term.endMs) };
    } else ranges.push({ after: term.readyMs, through: term.endMs });
  }
  return ranges;
}

/** Cuts a range where slots turn from missed to live and back. */
export function segmentsOf(range: DueRange, live: readonly DueRange[]): LiveSegment[] {
  const segments: LiveSegment[] = [];
  let after = range.after;
  const add = (through: number, isLive: boolean): void => {
    if (through > after) {
      segments.push({ after, through, live: isLive });
      after = through;
    }
  };
  for (const stretch of live) {
    if (stretch.through <= after) continue;
    if (stretch.after >= range.through) break;
    add(Math.min(stretch.after, range.through), false);
    add(Math.min(stretch.through, range.through), true);
  }
  add(range.through, false);
  return segments;
}
