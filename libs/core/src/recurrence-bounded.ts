import type { ExclusionCalendar } from './calendar-exclusion.ts';
import { type Slots, secondAfter, secondBefore } from './recurrence-slots.ts';

/** Slots between two instants, both inclusive. */
export class BoundedSlots implements Slots {
  readonly slots: Slots;
  readonly start: number;
  readonly end: number;

  constructor(slots: Slots, start: number, end: number) {
    this.slots = slots;
    this.start = start;
    this.end = end;
  }

  next(t: number): number {
    const slot = this.slots.next(t < this.start ? this.start - 1 : t);
    return slot <= this.end ? slot : Number.POSITIVE_INFINITY;
  }

  previous(t: number): number {
    const slot = this.slots.previous(t > this.end ? this.end + 1 : t);
    return slot >= this.start ? slot : Number.NEGATIVE_INFINITY;
  }
}

const YEAR_SECONDS = 31_556_952;
// From 2101 on zones follow rules, and those recur with the kinds of year; so do weekly hours. When every slot of
// this long and this many in a row is excluded, all later ones are.
const RULES_ONLY_FROM = 4_133_980_800; // 2101-01-01
const RULES_ONLY_BEFORE = -5_364_662_400; // 1800-01-01: local mean time everywhere
const HOPELESS_SECONDS = 80 * YEAR_SECONDS;
const HOPELESS_SLOTS = 1000;

/** Slots that lie in none of some calendars. */
export class UnexcludedSlots implements Slots {
  readonly slots: Slots;
  readonly calendars: readonly ExclusionCalendar[];
  readonly #hopelessAfter: number;
  readonly #hopelessBefore: number;

  constructor(slots: Slots, calendars: readonly ExclusionCalendar[]) {
    this.slots = slots;
    this.calendars = calendars;
    const datedTo = Math.max(...calendars.map((calendar) => calendar.datedTo));
    const datedFrom = Math.min(...calendars.map((calendar) => calendar.datedFrom));
    this.#hopelessAfter = Math.max(RULES_ONLY_FROM, datedTo) + HOPELESS_SECONDS;
    this.#hopelessBefore = Math.min(RULES_ONLY_BEFORE, datedFrom) - HOPELESS_SECONDS;
  }

  next(t: number): number {
    const start = secondAfter(t);
    const hopeless = Math.max(start + HOPELESS_SECONDS, this.#hopelessAfter);
    let slot = this.slots.next(t);
    for (let count = 0; slot !== Number.POSITIVE_INFINITY; count++) {
      const until = this.#excludedUntil(slot);
      if (Number.isNaN(until)) return slot;
      if (count > HOPELESS_SLOTS && slot > hopeless) return Number.POSITIVE_INFINITY;
      slot = this.slots.next(Math.max(slot, until - 1));
    }
    return slot;
  }

  previous(t: number): number {
    const start = secondBefore(t);
    const hopeless = Math.min(start - HOPELESS_SECONDS, this.#hopelessBefore);
    let slot = this.slots.previous(t);
    for (let count = 0; slot !== Number.NEGATIVE_INFINITY; count++) {
      const since = this.#excludedSince(slot);
      if (Number.isNaN(since)) return slot;
      if (count > HOPELESS_SLOTS && slot < hopeless) return Number.NEGATIVE_INFINITY;
      slot = this.slots.previous(Math.min(slot, since));
    }
    return slot;
  }

  #excludedUntil(slot: number): number {
    for (const calendar of this.calendars) {
      const until = calendar.excludedUntil(slot);
      if (!Number.isNaN(until)) return until;
    }
    return Number.NaN;
  }

  #excludedSince(slot: number): number {
    for (const calendar of this.calendars) {
      const since = calendar.excludedSince(slot);
      if (!Number.isNaN(since)) return since;
    }
    return Number.NaN;
  }
}
