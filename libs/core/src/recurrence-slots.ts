/**
 * A set of slots: instants in whole epoch seconds. The set depends on its spec alone, never on where or in which
 * direction a search starts. Arguments are epoch seconds too, whole or not, also infinite; NaN is a RangeError.
 */
export interface Slots {
  /** The smallest slot greater than `t`; +Infinity when there is none. */
  next(t: number): number;
  /** The greatest slot smaller than `t`; -Infinity when there is none. */
  previous(t: number): number;
}

/** The slots in `(a, b]` in ascending order, lazily, at most `limit` (default: all). */
export function* slotsBetween(
  slots: Slots,
  a: number,
  b: number,
  limit = Number.POSITIVE_INFINITY,
): Generator<number> {
  let slot = slots.next(a);
  for (let count = 0; count < limit && slot <= b && slot < Number.POSITIVE_INFINITY; count++) {
    yield slot;
    slot = slots.next(slot);
  }
}

/** The first whole second after `t`, where a search for the next slot begins. */
export function secondAfter(t: number): number {
  const second = Math.floor(t) + 1;
  if (Number.isNaN(second)) throw new RangeError('an instant is a number of seconds, not NaN');
  return second;
}

/** The last whole second before `t`, where a search for the previous slot begins. */
export function secondBefore(t: number): number {
  const second = Math.ceil(t) - 1;
  if (Number.isNaN(second)) throw new RangeError('an instant is a number of seconds, not NaN');
  return second;
}
