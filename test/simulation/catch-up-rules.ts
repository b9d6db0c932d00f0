import type { ExpectedSlot } from './schedule-slots.ts';
import type { SimSpec } from './sim-spec.ts';

/** A leadership: from when on it was ready, and its end by release or expiry, by the database's clock. */
export interface LedTerm {
  readonly readyMs: number;
  readonly endMs: number;
}

/** A stretch of time in which slots that fell due were missed. Both ends are of the terms beside it. */
export interface Gap {
  readonly fromMs: number;
  readonly toMs: number;
}

/** A gap of at most this makes no slot a missed one. */
const SHORT_MS = 10_000;
/** Terms are stored with fractions of milliseconds, and read without. */
const ROUNDED_MS = 1;
/** Changes that were committed in a gap, or while a leader may still have been loading after it, are not judged by it. */
const SETTLING_MS = 15_000;

/** The gaps between terms, and before the first of them. */
export function gapsBetween(terms: readonly LedTerm[]): Gap[] {
  const gaps: Gap[] = [];
  let coveredMs = Number.NEGATIVE_INFINITY;
  for (const { readyMs, endMs } of terms.toSorted((a, b) => a.readyMs - b.readyMs)) {
    if (readyMs - coveredMs > SHORT_MS) gaps.push({ fromMs: coveredMs, toMs: readyMs });
    coveredMs = Math.max(coveredMs, endMs);
  }
  return gaps;
}

/** Whether a slot that fell due then may have been a missed one. */
export function maybeMissed(gaps: readonly Gap[], dueMs: number): boolean {
  return gaps.some(({ fromMs, toMs }) => dueMs >= fromMs - ROUNDED_MS && dueMs <= toMs + ROUNDED_MS);
}

/**
 * The slots of a schedule that its catch-up policy rules out: in each gap all but the newest, as many as it allows. None of a gap
 * whose slots have different policies, or in which the schedule was changed.
 */
export function ruledOut(
  gaps: readonly Gap[],
  slots: readonly ExpectedSlot[],
  specOf: (revision: number) => SimSpec,
  epochMs: number,
): ExpectedSlot[] {
  return gaps.flatMap(({ fromMs, toMs }) => {
    const missed = slots
      .filter(({ dueMs }) => dueMs > fromMs + ROUNDED_MS && dueMs < toMs - ROUNDED_MS)
      .sort((a, b) => a.nominal - b.nominal);
    const limits = new Set(missed.map(({ span }) => limitOf(specOf(span.revision))));
    const [limit] = limits;
    if (limit === undefined || limits.size > 1 || limit === Number.POSITIVE_INFINITY) return [];
    const isSteady = missed.every(({ span }) => {
      const times = [span.begunAtMs, span.end?.seenAtMs].map((atMs) => epochMs + (atMs ?? Number.NaN));
      return times.every((atMs) => !(atMs >= fromMs && atMs <= toMs + SETTLING_MS));
    });
    return isSteady ? missed.slice(0, Math.max(0, missed.length - limit)) : [];
  });
}

/** How many missed slots are fired at most. */
function limitOf({ catchUp, catchUpLimit }: SimSpec): number {
  if (catchUp === 'NONE') return 0;
  if (catchUp === 'LATEST') return 1;
  return catchUpLimit === 0 ? Number.POSITIVE_INFINITY : catchUpLimit;
}
