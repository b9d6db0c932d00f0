import type { OverlapPolicy } from '@carillon/core/schedule-spec.ts';
import type { KeyedRun } from '@carillon/db/tables/keyed-runs.ts';
import type { NewRun } from '@carillon/db/tables/runs.ts';

/** What is known of a concurrency key when a run of it is decided. */
export interface KeyState {
  /** How many of its runs are going; beyond the limit of the run that is decided it need not be exact. */
  readonly going: number;
  /** Whether any is buffered. */
  readonly buffered: boolean;
}

/** What becomes of a new run. */
export type OverlapDecision =
  | { readonly outcome: 'STARTED' | 'BUFFERED' }
  /** `message` says why, for people. */
  | { readonly outcome: 'SKIPPED'; readonly message: string };

/** What is asked for, as {@link NewRun} has it: its limit is 0, for none, only under `ALLOW`. */
export type AskedOverlap = Pick<NewRun, 'concurrency_policy' | 'concurrency_limit' | 'nominal_micros'>;

/** The code of the error of a run that was skipped. */
export const OVERLAP_CODE = 'OVERLAP';

/** Whether runs of this policy may stop others. They are decided by {@link othersToStop} first, and by {@link decideBeside} then. */
export function stopsOthers(policy: OverlapPolicy): boolean {
  return policy === 'CANCEL_OTHER' || policy === 'TERMINATE_OTHER';
}

/** Decides a run that stops no others. */
export function decideOverlap(run: AskedOverlap, { going, buffered }: KeyState): OverlapDecision {
  const { concurrency_policy: policy, concurrency_limit: limit } = run;
  const full = going >= limit && limit > 0;
  switch (policy) {
    case 'ALLOW':
    case 'SKIP':
      return full ? skipped(`its concurrency key has ${counted(limit, 'run')} going`) : STARTED;
    case 'BUFFER_ONE':
      if (buffered) return skipped('a run of its concurrency key is buffered already');
      return full ? BUFFERED : STARTED;
    case 'BUFFER_ALL':
      // Not past those that came before, and wait for a lower limit.
      return full || buffered ? BUFFERED : STARTED;
    default:
      throw new RangeError(`${policy} is decided by whom it stops`);
  }
}

/**
 * Whom a run stops that may stop others, of all others of its key, the latest nominal time first. The latest ones stay, as many as its
 * limit leaves beside it; those it stops are of earlier nominal times. It is skipped itself if the limit is taken by others that are not.
 */
export function othersToStop(
  { concurrency_limit: limit, nominal_micros }: AskedOverlap,
  others: readonly KeyedRun[],
): { readonly stop: readonly KeyedRun[] } | Extract<OverlapDecision, { outcome: 'SKIPPED' }> {
  const later = others.filter((other) => other.nominal_micros >= nominal_micros).length;
  if (later >= limit) {
    return skipped(
      `its concurrency key has ${counted(limit, 'run')} going or waiting whose nominal time is not earlier`,
    );
  }
  return { stop: others.slice(limit - 1) };
}

/** Decides a run that stops others, by what is left when they were stopped. */
export function decideBeside(
  { concurrency_policy: policy, concurrency_limit: limit }: AskedOverlap,
  left: KeyState,
): OverlapDecision {
  // Those that were ended have left room for it; those that were only asked may not have ended.
  if (policy === 'TERMINATE_OTHER') return STARTED;
  return left.going < limit && !left.buffered ? STARTED : BUFFERED;
}

const STARTED: OverlapDecision = { outcome: 'STARTED' };
const BUFFERED: OverlapDecision = { outcome: 'BUFFERED' };

function skipped(message: string): { readonly outcome: 'SKIPPED'; readonly message: string } {
  return { outcome: 'SKIPPED', message };
}

function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}
