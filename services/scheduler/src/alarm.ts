import { type Clock, MAX_TIMER_MS, type Timer } from '@carillon/core/clock.ts';
import type { DatabaseClock } from './database-clock.ts';

/** One timer, for what is due next by the database's clock. */
export class Alarm {
  readonly #clock: Clock;
  readonly #databaseClock: DatabaseClock;
  readonly #ring: () => void;
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, databaseClock: DatabaseClock, ring: () => void) {
    this.#clock = clock;
    this.#databaseClock = databaseClock;
    this.#ring = ring;
  }

  /** Rings at this instant, in epoch milliseconds, instead of at what was set before; and after a minute in any case. */
  set(dueMs: number): void {
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    const delayMs = Math.ceil(dueMs - this.#databaseClock.now());
    // Never longer, and then from the database's clock again: clocks step, and machines sleep.
    this.#timer = this.#clock.after(Math.min(MAX_TIMER_MS, Math.max(0, delayMs)), () => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      this.#ring();
    });
  }

  /** Rings at this instant at the latest. */
  setNoLater(dueMs: number): void {
    if (dueMs < this.#dueMs) this.set(dueMs);
  }

  cancel(): void {
    this.#timer?.cancel();
    // Nothing is earlier: it is not set again.
    this.#dueMs = Number.NEGATIVE_INFINITY;
  }
}
