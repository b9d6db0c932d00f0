import { type Slots, secondAfter, secondBefore } from './recurrence-slots.ts';
import type { DstGap, DstOverlap } from './recurrence-spec.ts';
import { DAY_SECONDS, FIRST_INSTANT, LAST_INSTANT } from './zone/civil-date.ts';
import type { WallPattern } from './zone/wall-pattern.ts';
import { MAX_OFFSET_SECONDS, type Zone } from './zone/zone.ts';
import type { ZoneSegment } from './zone/zone-segment.ts';

// From here on the zone database has rules only, no dates, and what a year does depends on its kind alone.
const RULES_ONLY_FROM = 4_133_980_800; // 2101-01-01
// Under SKIP every time of a rare pattern may fall into gaps. The kinds of year recur within a few dozen years, so
// after this many fruitless stretches of rules-only time there is nothing to come.
const MAX_FRUITLESS = 400;

/**
 * What a change of the clocks has to do with a slot: nothing; its local time did not exist and was moved here; or
 * its local time occurs twice, and this is the first or the second pass.
 */
export type DstEffect = 'NONE' | 'MOVED' | 'FIRST_PASS' | 'SECOND_PASS';

/** The instants of a wall pattern in UTC: the nominal times themselves. */
export class UtcSlots implements Slots {
  readonly pattern: WallPattern;

  constructor(pattern: WallPattern) {
    this.pattern = pattern;
  }

  next(t: number): number {
    return this.pattern.nextWall(secondAfter(t));
  }

  previous(t: number): number {
    return this.pattern.previousWall(secondBefore(t));
  }
}

/**
 * The instants of a wall pattern in a zone, under the policies for times that a change of the clocks leaves out or
 * repeats. Away from such changes a local time is an instant plus an offset; near them every stretch of one offset
 * is searched on its own, and what its opening gap adds is set beside what lies in it.
 */
export class ZonedSlots implements Slots {
  readonly pattern: WallPattern;
  readonly zone: Zone;
  /** `AUTO` is that of an interval: for fixed times it has become `NEXT_VALID`. */
  readonly gap: DstGap;
  readonly overlap: Exclude<DstOverlap, 'AUTO'>;

  constructor(pattern: WallPattern, zone: Zone, gap: DstGap, overlap: DstOverlap) {
    this.pattern = pattern;
    this.zone = zone;
    this.gap = gap === 'AUTO' && pattern.fixedTimes ? 'NEXT_VALID' : gap;
    this.overlap = overlap === 'AUTO' ? (pattern.fixedTimes ? 'FIRST' : 'BOTH') : overlap;
  }

  next(t: number): number {
    const second = secondAfter(t);
    if (second > LAST_INSTANT) return Number.POSITIVE_INFINITY;
    const from = second < FIRST_INSTANT ? FIRST_INSTANT : second;
    const segment = this.zone.locate(from);
    if (from < segment.clearFrom || from >= segment.clearTo) return this.#searchForward(from);
    // No earlier nominal time comes back after a clear instant, so this is the one, wherever it falls.
    const wall = this.pattern.nextWall(from + segment.offset);
    const slot = wall - segment.offset;
    if (slot < segment.clearTo) return slot;
    if (wall === Number.POSITIVE_INFINITY) return wall;
    const there = this.zone.locate(slot);
    const exact = wall - there.offset;
    const clear = exact >= there.clearFrom && exact < there.clearTo;
    return clear ? exact : this.#searchForward(from);
  }

  previous(t: number): number {
    const second = secondBefore(t);
    if (second < FIRST_INSTANT) return Number.NEGATIVE_INFINITY;
    const from = second > LAST_INSTANT ? LAST_INSTANT : second;
    const segment = this.zone.locate(from);
    if (from < segment.clearFrom || from >= segment.clearTo) return this.#searchBackward(from);
    const wall = this.pattern.previousWall(from + segment.offset);
    const slot = wall - segment.offset;
    if (slot >= segment.clearFrom) return slot;
    if (wall === Number.NEGATIVE_INFINITY) return wall;
    const there = this.zone.locate(slot);
    const exact = wall - there.offset;
    const clear = exact >= there.clearFrom && exact < there.clearTo;
    return clear ? exact : this.#searchBackward(from);
  }

  /** What a change of the clocks has to do with a slot. */
  effectAt(slot: number): DstEffect {
    const segment = this.zone.locate(slot);
    const wall = slot + segment.offset;
    if (this.pattern.nextWall(wall) !== wall) return 'MOVED';
    if (slot < segment.openedAt + (segment.offsetBefore - segment.offset)) return 'SECOND_PASS';
    return slot >= segment.closedAt - (segment.offset - segment.offsetAfter) ? 'FIRST_PASS' : 'NONE';
  }

  #searchForward(start: number): number {
    let fruitless = 0;
    for (let from = start; from <= LAST_INSTANT; ) {
      const segment = this.zone.locate(from);
      const slot = this.#firstIn(segment, from);
      if (slot < segment.to) return slot;
      // No offset is greater than this, so nothing that comes of a later nominal time can lie before it.
      const wall = this.pattern.nextWall(segment.to - MAX_OFFSET_SECONDS);
      from = Math.max(segment.to, wall - MAX_OFFSET_SECONDS);
      if (from > RULES_ONLY_FROM && ++fruitless > MAX_FRUITLESS) break;
    }
    return Number.POSITIVE_INFINITY;
  }

  #searchBackward(start: number): number {
    for (let from = start; from >= FIRST_INSTANT; ) {
      const segment = this.zone.locate(from);
      const slot = this.#lastIn(segment, from);
      if (slot >= segment.from) return slot;
      const wall = this.pattern.previousWall(segment.from + MAX_OFFSET_SECONDS);
      from = Math.min(segment.from - 1, wall + MAX_OFFSET_SECONDS);
    }
    return Number.NEGATIVE_INFINITY;
  }

  /** The first slot of a segment at or after `from`; at or beyond its end when there is none. */
  #firstIn(segment: ZoneSegment, from: number): number {
    const { offset } = segment;
    const regular = this.pattern.nextWall(Math.max(from, this.#regularFrom(segment)) + offset) - offset;
    const slot = regular < this.#regularTo(segment) ? regular : Number.POSITIVE_INFINITY;
    if (segment.offsetBefore >= offset) return slot;
    if (this.gap === 'SHIFT') {
      // A time moved by the gap's length reads like the clock that was not put forward.
      const gapTo = segment.openedAt + offset;
      const moved = this.pattern.nextWall(Math.max(segment.openedAt, from) + segment.offsetBefore);
      return moved < gapTo ? Math.min(slot, moved - segment.offsetBefore) : slot;
    }
    if (segment.openedAt < from || segment.openedAt >= slot) return slot;
    return this.#gapYieldsSlot(segment) ? segment.openedAt : slot;
  }

  /** The last slot of a segment at or before `from`; before its beginning when there is none. */
  #lastIn(segment: ZoneSegment, from: number): number {
    const { offset } = segment;
    const regular = this.pattern.previousWall(Math.min(from, this.#regularTo(segment) - 1) + offset) - offset;
    const slot = regular >= this.#regularFrom(segment) ? regular : Number.NEGATIVE_INFINITY;
    if (segment.offsetBefore >= offset) return slot;
    if (this.gap === 'SHIFT') {
      const gapFrom = segment.openedAt + segment.offsetBefore;
      const gapTo = segment.openedAt + offset;
      const moved = this.pattern.previousWall(Math.min(gapTo - 1, from + segment.offsetBefore));
      return moved >= gapFrom ? Math.max(slot, moved - segment.offsetBefore) : slot;
    }
    if (segment.openedAt > from || segment.openedAt <= slot || segment.openedAt < segment.from) return slot;
    return this.#gapYieldsSlot(segment) ? segment.openedAt : slot;
  }

  /** Where a segment's own times begin to count: with FIRST, behind those that are a repetition. */
  #regularFrom(segment: ZoneSegment): number {
    if (this.overlap !== 'FIRST') return segment.from;
    return Math.max(segment.from, segment.openedAt + Math.max(0, segment.offsetBefore - segment.offset));
  }

  /** Where they cease to count: with LAST, before those that will be repeated. */
  #regularTo(segment: ZoneSegment): number {
    if (this.overlap !== 'LAST') return segment.to;
    return Math.min(segment.to, segment.closedAt - Math.max(0, segment.offset - segment.offsetAfter));
  }

  /** Whether the times inside the gap that opens a segment make a slot at its first instant. */
  #gapYieldsSlot(segment: ZoneSegment): boolean {
    if (this.gap === 'SKIP') return false;
    const gapFrom = segment.openedAt + segment.offsetBefore;
    const gapTo = segment.openedAt + segment.offset;
    const first = this.pattern.nextWall(gapFrom);
    if (first >= gapTo) return false;
    if (this.gap === 'NEXT_VALID') return true;
    // An interval: only a date all of whose times are in the gap has one. A gap touches two or three dates at most.
    for (let nominal = first; nominal < gapTo; ) {
      const dayFrom = Math.floor(nominal / DAY_SECONDS) * DAY_SECONDS;
      const dayTo = dayFrom + DAY_SECONDS;
      const none = this.pattern.previousWall(gapFrom - 1) < dayFrom && this.pattern.nextWall(gapTo) >= dayTo;
      if (none) return true;
      nominal = this.pattern.nextWall(dayTo);
    }
    return false;
  }
}
