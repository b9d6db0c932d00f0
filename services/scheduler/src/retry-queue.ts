import { TimerQueue } from '@carillon/core/timer-queue.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { Slot } from './slot.ts';

/**
 * Slots that were sent, or could not be, and wait to be sent again: first for their time, then for their turn, live ones apart from others, and projects in
 * turn, so that no project whose slots are refused again and again keeps the others waiting.
 */
export class RetryQueue {
  readonly #timers = new TimerQueue();
  readonly #live = new ReadyQueue();
  readonly #others = new ReadyQueue();
  readonly #slots: (Slot | undefined)[] = [];
  /** By place: numbers its project. */
  readonly #projects: number[] = [];
  readonly #free: number[] = [];
  readonly #due = new Uint32Array(256);

  /** How many there are. */
  get size(): number {
    return this.#timers.size + this.#live.size + this.#others.size;
  }

  /** How many live ones wait for their turn. */
  get liveSize(): number {
    return this.#live.size;
  }

  /** How many others wait for their turn. */
  get othersSize(): number {
    return this.#others.size;
  }

  /** When the time of the next one comes, in milliseconds of monotonic time; Infinity: none waits for its time. */
  get nextMs(): number {
    return this.#timers.peekDue();
  }

  /** @param project numbers its project */
  add(slot: Slot, project: number, atMs: number): void {
    const place = this.#free.pop() ?? this.#slots.length;
    this.#slots[place] = slot;
    this.#projects[place] = project;
    this.#timers.upsert(place, atMs);
  }

  /** Has those whose time has come wait for their turn. */
  advance(nowMs: number): void {
    for (let count = this.#due.length; count === this.#due.length; ) {
      count = this.#timers.popDue(nowMs, this.#due.length, this.#due);
      for (let i = 0; i < count; i++) {
        const place = this.#due[i]!;
        (this.#slots[place]!.live ? this.#live : this.#others).push(this.#projects[place]!, place);
      }
    }
  }

  /**
   * The next one in turn; undefined: none is ready.
   *
   * @param isHeld tells which projects are passed over; undefined: none
   */
  shift(live: boolean, isHeld: ((project: number) => boolean) | undefined): Slot | undefined {
    const place = (live ? this.#live : this.#others).shift(isHeld);
    if (place === undefined) return undefined;
    const slot = this.#slots[place];
    this.#slots[place] = undefined;
    this.#free.push(place);
    return slot;
  }
}
