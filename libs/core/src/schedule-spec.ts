import type { ScheduleName } from './resource-name.ts';

/** Which missed slots are fired. */
export type CatchUpPolicy = 'ALL' | 'LATEST' | 'NONE';

/** What happens when a run of the schedule is still going. */
export type OverlapPolicy =
  | 'ALLOW'
  | 'SKIP'
  | 'BUFFER_ONE'
  | 'BUFFER_ALL'
  | 'CANCEL_OTHER'
  | 'TERMINATE_OTHER';

/** What a spec says beside its recurrence, with every default filled in. */
export interface SchedulePolicies {
  /** The width of the jitter in seconds, 0 for none. It may have a fraction, of whole milliseconds. */
  readonly jitterSeconds: number;
  readonly catchUpPolicy: CatchUpPolicy;
  /** The greatest lateness at which a slot may still fire, in milliseconds. */
  readonly catchUpWindowMs: number;
  /** Under `ALL`: the most missed slots to fire, the newest; 0 for no limit. */
  readonly catchUpLimit: number;
  readonly overlapPolicy: OverlapPolicy;
  /** How many runs may go at once: 0 for no limit, which is `ALLOW`'s default; every other policy's is 1. */
  readonly overlapLimit: number;
}

/** The catch-up window of a spec that names none: 24 hours. */
export const DEFAULT_CATCH_UP_WINDOW_MS = 86_400_000;

/** The longest catch-up window that a spec may name: 366 days, as the protos say. */
export const LONGEST_CATCH_UP_WINDOW_MS = 366 * 86_400_000;

/** The zone of a spec that names none, and of patterns that know no zone. */
export const DEFAULT_TIME_ZONE = 'UTC';

/** What `H` and jitter are hashed from: `project/domain/scheduleId`. It is the same for every incarnation of the name. */
export function scheduleIdentity({ project, domain, scheduleId }: ScheduleName): string {
  return `${project}/${domain}/${scheduleId}`;
}

/** The anchor of a rate that has no start: its first activation, in epoch milliseconds, down to the whole second before. */
export function rateAnchorSec(activationMs: number): number {
  return Math.floor(activationMs / 1000);
}
