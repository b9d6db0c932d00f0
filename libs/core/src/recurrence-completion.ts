import type { Slots } from './recurrence-slots.ts';

/**
 * How many more slots may be started now: without a limit (undefined) any number, else what remains less what is
 * outstanding. Only fired slots count against `remaining`, and only at settlement, so those under way are held
 * back from it. Never negative.
 */
export function startableActions(remaining: number | undefined, outstanding: number): number {
  if (remaining === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(0, remaining - outstanding);
}

/** What remains after some slots were settled as fired; undefined (no limit) stays so. Never negative. */
export function remainingAfter(remaining: number | undefined, fired: number): number | undefined {
  return remaining === undefined ? undefined : Math.max(0, remaining - fired);
}

/**
 * Whether a schedule is complete: no action remains, or no slot lies after `settledTo` (epoch seconds), up to which
 * all are settled. A one-shot is complete once its slot is; so is a schedule past its end.
 */
export function isComplete(slots: Slots, settledTo: number, remaining: number | undefined): boolean {
  return remaining === 0 || slots.next(settledTo) === Number.POSITIVE_INFINITY;
}
