/**
 * Time and chance as services are given them. Everything outside `system-clock.ts` takes these, so that tests
 * and the simulation decide what time it is.
 */
export interface Clock {
  /** Wall clock: milliseconds since the Unix epoch. Only for "when"; it may jump in both directions. */
  now(): number;
  /** Monotonic clock: milliseconds since an arbitrary origin. Only for "how long"; it never goes back. */
  monotonic(): number;
  /**
   * Calls `callback` once, no earlier than `delayMs` of monotonic time from now. Delays above
   * {@link MAX_TIMER_MS} are a RangeError: a caller that waits longer recomputes from the wall clock.
   */
  after(delayMs: number, callback: () => void): Timer;
}

/** A timer that was armed by {@link Clock.after}. */
export interface Timer {
  /** Disarms it. Harmless when it has fired already, or was cancelled before. */
  cancel(): void;
}

/** Randomness as services are given it. */
export interface Entropy {
  /** A number in [0, 1). */
  fraction(): number;
  /** A random UUID (version 4). */
  uuid(): string;
}

/** The longest timer: beyond 2^31-1 ms Node fires at once, and a suspended machine wants an early second look. */
export const MAX_TIMER_MS = 60_000;

/** Resolves after `delayMs` (at most {@link MAX_TIMER_MS}); rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
