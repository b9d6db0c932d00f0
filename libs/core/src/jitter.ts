import { identityHash, mixHash } from './cron/identity-hash.ts';
import type { Slots } from './recurrence-slots.ts';

/** The longest jitter: a day. */
export const MAX_JITTER_SECONDS = 86_400;

/**
 * When a slot is due, in epoch milliseconds: its nominal time (epoch seconds) plus a jitter in `[0, jitterSeconds)`
 * that is a hash of the identity and the nominal time, in steps of 1 ms. It stays below the gap to the next slot, so
 * that slots fall due in their order. `jitterSeconds` from 0 to {@link MAX_JITTER_SECONDS}, fractions allowed; else a
 * RangeError.
 */
export function dueTime(slots: Slots, nominal: number, jitterSeconds: number, identity: string): number {
  return nominal * 1000 + jitterMs(slots, nominal, jitterSeconds, identity);
}

/** The jitter of a slot alone, in whole milliseconds; see {@link dueTime}. */
export function jitterMs(slots: Slots, nominal: number, jitterSeconds: number, identity: string): number {
  if (!(jitterSeconds >= 0 && jitterSeconds <= MAX_JITTER_SECONDS)) {
    throw new RangeError(`a jitter of ${jitterSeconds} s is not within 0 to ${MAX_JITTER_SECONDS} s`);
  }
  if (jitterSeconds === 0) return 0;
  const spanMs = Math.min(jitterSeconds, slots.next(nominal) - nominal) * 1000;
  return Math.floor((hashOfSlot(identity, nominal) / 2 ** 32) * spanMs);
}

function hashOfSlot(identity: string, nominal: number): number {
  // The mixer leaves neighbouring seconds unrelated; the high half keeps instants 136 years apart distinct.
  const high = Math.floor(nominal / 2 ** 32);
  return mixHash(identityHash(identity, 'jitter') ^ mixHash((nominal >>> 0) ^ mixHash(high)));
}
