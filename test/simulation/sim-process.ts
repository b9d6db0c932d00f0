import { type Clock, MAX_TIMER_MS, type Timer } from '@carillon/core/clock.ts';
import type { Happening, Mortal, VirtualTime } from './virtual-time.ts';

const TIMER_LATENESS_MS = 0.05;

/** How a process's clocks differ from the truth. */
export interface ClockErrors {
  /** How far the wall clock is off at first, in milliseconds. */
  readonly wallOffsetMs: number;
  /** How much faster than the truth the monotonic clock runs, as a fraction. */
  readonly drift: number;
}

/**
 * A process: it can be killed, after which nothing of it has any effect, or stand still (SIGSTOP), while its clocks go on. It is its
 * own clock.
 */
export class SimProcess implements Mortal, Clock {
  readonly name: string;
  readonly deferred: Happening[] = [];
  readonly #time: VirtualTime;
  readonly #epochMs: number;
  readonly #startedAtMs: number;
  readonly #drift: number;
  #wallOffsetMs: number;
  #alive = true;
  #frozen = false;

  constructor(name: string, time: VirtualTime, epochMs: number, errors: ClockErrors) {
    this.name = name;
    this.#time = time;
    this.#epochMs = epochMs;
    this.#startedAtMs = time.nowMs;
    this.#drift = errors.drift;
    this.#wallOffsetMs = errors.wallOffsetMs;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  now(): number {
    return this.#epochMs + this.#time.nowMs + this.#wallOffsetMs;
  }

  monotonic(): number {
    return (this.#time.nowMs - this.#startedAtMs) * (1 + this.#drift);
  }

  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs <= MAX_TIMER_MS)) throw new RangeError(`timer of ${delayMs} ms exceeds ${MAX_TIMER_MS} ms`);
    // An operating system's timer is late, never early, so that what waits for nothing does not spin.
    const happening = this.#time.after(
      Math.max(0, delayMs) / (1 + this.#drift) + TIMER_LATENESS_MS,
      callback,
      this,
    );
    return {
      cancel: () => {
        happening.cancelled = true;
      },
    };
  }

  kill(): void {
    this.#alive = false;
    this.deferred.length = 0;
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    this.#time.resume(this);
  }

  /** Steps the wall clock, as an administrator would. */
  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }
}
