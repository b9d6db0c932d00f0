import { type Slots, secondAfter, secondBefore } from './recurrence-slots.ts';
import { FIRST_INSTANT, LAST_INSTANT } from './zone/civil-date.ts';

/** `anchor + k * every` for every integer k: elapsed time, in whole seconds. */
export class RateSlots implements Slots {
  readonly every: number;
  readonly anchor: number;

  constructor(every: number, anchor: number) {
    this.every = every;
    this.anchor = anchor;
  }

  next(t: number): number {
    const second = secondAfter(t);
    if (second > LAST_INSTANT) return Number.POSITIVE_INFINITY;
    const from = Math.max(second, FIRST_INSTANT);
    const slot = this.anchor + Math.ceil((from - this.anchor) / this.every) * this.every;
    return slot <= LAST_INSTANT ? slot : Number.POSITIVE_INFINITY;
  }

  previous(t: number): number {
    const second = secondBefore(t);
    if (second < FIRST_INSTANT) return Number.NEGATIVE_INFINITY;
    const from = Math.min(second, LAST_INSTANT);
    const slot = this.anchor + Math.floor((from - this.anchor) / this.every) * this.every;
    return slot >= FIRST_INSTANT ? slot : Number.NEGATIVE_INFINITY;
  }
}

/** One slot. */
export class OneShotSlots implements Slots {
  readonly at: number;

  constructor(at: number) {
    this.at = at;
  }

  next(t: number): number {
    return secondAfter(t) <= this.at ? this.at : Number.POSITIVE_INFINITY;
  }

  previous(t: number): number {
    return secondBefore(t) >= this.at ? this.at : Number.NEGATIVE_INFINITY;
  }
}

/** Whether a number is a whole second that a slot, an anchor or a bound can have. */
export function isInstant(value: number): boolean {
  return Number.isInteger(value) && value >= FIRST_INSTANT && value <= LAST_INSTANT;
}
