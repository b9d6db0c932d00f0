import type { Clock } from '@carillon/core/clock.ts';

/** How much faster than the database's this machine's clock may run: what NTP slews a clock by at most, 500 ppm. */
const MAX_DRIFT = 5e-4;

/** Readings are whole milliseconds: what they leave out is no step either. */
const READING_MS = 1;

/**
 * The database's clock, as far as it is certain: the last reading and the monotonic time since its arrival, less what the two clocks may
 * run apart, so never ahead of it. Due and fire times are judged by it, whatever this machine's wall clock says.
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
    return this.#readingMs + (this.#clock.monotonic() - this.#arrivedAtMs) * (1 - MAX_DRIFT);
  }

  /** How far this machine's wall clock is ahead of the database's, in milliseconds. */
  get wallClockAheadMs(): number {
    return this.#clock.now() - this.now();
  }

  /**
   * Takes in a reading that has just arrived.
   *
   * @param askedAtMs when it was asked for, by the monotonic clock: the reading is no older than that. Default: just now
   */
  read(databaseNowMs: number, askedAtMs = this.#clock.monotonic()): void {
    const arrivedAtMs = this.#clock.monotonic();
    const expectedMs = this.now();
    // An answer that took long would set the clock back. Only a step of the database's may: then even what the answer took does not explain it.
    if (databaseNowMs < expectedMs && expectedMs <= databaseNowMs + READING_MS + arrivedAtMs - askedAtMs)
      return;
    this.#readingMs = databaseNowMs;
    this.#arrivedAtMs = arrivedAtMs;
  }
}
