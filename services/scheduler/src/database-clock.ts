import type { Clock } from '@carillon/core/clock.ts';

/** A reading that differs by more than this from what was expected is a step of a clock, not a slow answer. */
const STEP_MS = 500;

/**
 * The database's clock, as far as it is certain: the last reading and the monotonic time since its arrival, so never ahead of it.
 * Due and fire times are judged by it, whatever this machine's wall clock says.
 */
export class DatabaseClock {
  readonly #clock: Clock;
  #readingMs = Number.NEGATIVE_INFINITY;
  #arrivedAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Epoch milliseconds; -Infinity before the first reading. */
  now(): number {
    return this.#readingMs + (this.#clock.monotonic() - this.#arrivedAtMs);
  }

  /** How far this machine's wall clock is ahead of the database's, in milliseconds. */
  get wallClockAheadMs(): number {
    return this.#clock.now() - this.now();
  }

  /** Takes in a reading that has just arrived. */
  read(databaseNowMs: number): void {
    // An answer that took longer would set the clock back; only a real step may.
    const expectedMs = this.now();
    if (databaseNowMs < expectedMs && expectedMs - databaseNowMs < STEP_MS) return;
    this.#readingMs = databaseNowMs;
    this.#arrivedAtMs = this.#clock.monotonic();
  }
}
