import { TimerQueue } from '@carillon/core/timer-queue.ts';
import type { Slot } from './slot.ts';

/** Slots that were sent, or could not be, and wait to be sent again. */
export class RetryQueue {
  readonly #timers = new TimerQueue();
  readonly #slots: (Slot | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #due = new Uint32Array(1);

  get size(): number {
    return this.#timers.size;
  }

  /** When the next one is to be sent again, in milliseconds of monotonic time; Infinity: none. */
  get nextMs(): number {
    return this.#timers.peekDue();
  }

  add(slot: Slot, atMs: number): void {
    const place = this.#free.pop() ?? this.#slots.length;
    this.#slots[place] = slot;
    this.#timers.upsert(place, atMs);
  }

  /** The next slot whose time has come, or undefined. */
  shift(nowMs: number): Slot | undefined {
    if (this.#timers.popDue(nowMs, 1, this.#due) === 0) return undefined;
    const place = this.#due[0]!;
    const slot = this.#slots[place];
    this.#slots[place] = undefined;
    this.#free.push(place);
    return slot;
  }
}
