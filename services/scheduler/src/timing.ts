import { dueTime } from '@carillon/core/jitter.ts';
import type { Recurrence } from '@carillon/core/recurrence.ts';
import type { CatchUpPolicy, OverlapPolicy } from '@carillon/core/schedule-spec.ts';

/**
 * What decides when a revision's slots fall due, compiled. Schedules with equal timings share one, unless it depends on
 * who they are (jitter, `H`, a rate from the first activation).
 */
export interface Timing {
  readonly recurrence: Recurrence;
  /** 0: none. */
  readonly jitterSec: number;
  /** What jitter is hashed from: `project/domain/schedule`. */
  readonly identity: string;
  /** The greatest lateness at which a slot may still fire. */
  readonly catchUpWindowMs: number;
  /** Which missed slots are fired. */
  readonly catchUpPolicy: CatchUpPolicy;
  /** Under `ALL`: how many of them at most, the newest; Infinity: all. */
  readonly catchUpLimit: number;
  /** How runs of the schedule share it; undefined: they run beside one another without limit. */
  readonly overlap: { readonly policy: OverlapPolicy; readonly limit: number } | undefined;
  /** The input argument that receives the nominal time; empty: none. */
  readonly nominalTimeInput: string;
}

/** Whether the schedule has one slot in flight at a time: what its policy decides depends on the order. */
export function isExclusive({ overlap }: Timing): boolean {
  return overlap !== undefined && overlap.policy !== 'ALLOW';
}

/** The due time of a slot, in epoch milliseconds. */
export function dueOf(timing: Timing, nominalSec: number): number {
  if (timing.jitterSec === 0) return nominalSec * 1000;
  return dueTime(timing.recurrence, nominalSec, timing.jitterSec, timing.identity);
}

/** The first slot after `nominalAfter` (seconds) that falls due after `dueAfterMs`: its nominal time, or Infinity. */
export function firstSlotAfter(timing: Timing, nominalAfter: number, dueAfterMs: number): number {
  const { recurrence, jitterSec } = timing;
  // No slot falls due more than the jitter after its nominal time.
  let nominal = recurrence.next(Math.max(nominalAfter, dueAfterMs / 1000 - jitterSec));
  while (nominal !== Number.POSITIVE_INFINITY && dueOf(timing, nominal) <= dueAfterMs)
    nominal = recurrence.next(nominal);
  return nominal;
}

/**
 * The newest slots after `nominalAfter` and up to `nominalThrough` (seconds) that fall due within (`dueAfterMs`, `dueThroughMs`]: how many
 * there are, up to `limit`, and the nominal time of the oldest of them; NaN if there is none.
 */
export function newestSlots(
  timing: Timing,
  nominalAfter: number,
  nominalThrough: number,
  dueAfterMs: number,
  dueThroughMs: number,
  limit: number,
): { readonly count: number; readonly oldest: number } {
  let count = 0;
  let oldest = Number.NaN;
  const last = Math.floor(Math.min(nominalThrough, dueThroughMs / 1000));
  for (
    let nominal = timing.recurrence.previous(last + 1);
    count < limit;
    nominal = timing.recurrence.previous(nominal)
  ) {
    if (nominal <= nominalAfter) break;
    const dueMs = dueOf(timing, nominal);
    if (dueMs <= dueAfterMs) break;
    if (dueMs > dueThroughMs) continue;
    count++;
    oldest = nominal;
  }
  return { count, oldest };
}
