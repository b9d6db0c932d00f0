import type { UnitKey } from '@carillon/core/assignment.ts';
import { grown } from './stream-table.ts';

const INITIAL_CAPACITY = 1024;

/** The units of ownership in memory, numbered in the order in which they turned up. */
export class UnitTable {
  #capacity = INITIAL_CAPACITY;
  readonly #numbers = new Map<UnitKey, number>();

  /** By number. */
  readonly keys: UnitKey[] = [];
  /** 1: something of it was settled since its row was last on its way. */
  touched = new Uint8Array(INITIAL_CAPACITY);
  /**
   * The frontier that is stored, or on its way; -Infinity: none. It never goes back: what is unsettled below it has a watermark of its
   * own.
   */
  storedMs = new Float64Array(INITIAL_CAPACITY).fill(Number.NEGATIVE_INFINITY);
  /**
   * How far any stored frontier speaks for a schedule of it: further than its own where, under an earlier assignment, schedules of it were in
   * units that had come further. What is unsettled below has a watermark of its own, until the unit itself has come as far.
   */
  spokenForMs = new Float64Array(INITIAL_CAPACITY).fill(Number.NEGATIVE_INFINITY);

  /** @param keys units to begin with */
  constructor(keys: Iterable<UnitKey>) {
    for (const key of keys) this.add(key);
  }

  get size(): number {
    return this.keys.length;
  }

  /** The number of a unit, which is added if it is new. */
  add(key: UnitKey): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.keys.length;
      if (number === this.#capacity) this.#grow();
      this.#numbers.set(key, number);
      this.keys.push(key);
    }
    return number;
  }

  /** A frontier of the unit is stored, or about to be. */
  stored(unit: number, throughMs: number): void {
    this.storedMs[unit] = throughMs;
    this.spokenFor(unit, throughMs);
  }

  /** A stored frontier, of whichever unit, speaks for a schedule of this one. */
  spokenFor(unit: number, throughMs: number): void {
    this.spokenForMs[unit] = Math.max(this.spokenForMs[unit]!, throughMs);
  }

  #grow(): void {
    this.#capacity *= 2;
    const capacity = this.#capacity;
    this.touched = grown(this.touched, new Uint8Array(capacity));
    this.storedMs = grown(this.storedMs, new Float64Array(capacity).fill(Number.NEGATIVE_INFINITY));
    this.spokenForMs = grown(this.spokenForMs, new Float64Array(capacity).fill(Number.NEGATIVE_INFINITY));
  }
}
