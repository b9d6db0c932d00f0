import type { Clock, Timer } from './clock.ts';

interface Waiter {
  readonly tokens: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
}

/** How a {@link TokenBucket} fills. */
export interface TokenBucketLimits {
  /** Tokens per second. Infinity lifts the limit. */
  readonly ratePerSecond: number;
  /** The most tokens it holds. */
  readonly burst: number;
}

/**
 * A token bucket whose waiters are served first in, first out, and leave at once when their signal aborts.
 * It starts full. Rate and burst may change while it runs.
 */
export class TokenBucket {
  readonly #clock: Clock;
  #limits: TokenBucketLimits;
  #tokens: number;
  #filledAtMs: number;
  #waiters: Waiter[] = [];
  #timer: Timer | undefined;

  constructor(clock: Clock, limits: TokenBucketLimits) {
    checkLimits(limits);
    this.#clock = clock;
    this.#limits = limits;
    this.#tokens = limits.burst;
    this.#filledAtMs = clock.monotonic();
  }

  get limits(): TokenBucketLimits {
    return this.#limits;
  }

  /** What it holds now: whole tokens and the fraction on its way. */
  get tokens(): number {
    this.#fill();
    return this.#tokens;
  }

  /** Changes rate and burst; tokens above the new burst are lost. */
  setLimits(limits: TokenBucketLimits): void {
    checkLimits(limits);
    this.#fill();
    this.#limits = limits;
    this.#tokens = Math.min(this.#tokens, limits.burst);
    const impossible = this.#waiters.filter((waiter) => waiter.tokens > limits.burst);
    for (const waiter of impossible) {
      this.#leave(waiter);
      waiter.reject(burstError(waiter.tokens, limits.burst));
    }
    this.#serve();
  }

  /**
   * Takes `tokens` as soon as they are there and everyone before has been served.
   *
   * @throws RangeError if `tokens` exceeds the burst: they would never be there.
   * @throws the signal's reason when it aborts first; nothing is taken then.
   */
  wait(tokens: number, signal?: AbortSignal): Promise<void> {
    if (tokens > this.#limits.burst) return Promise.reject(burstError(tokens, this.#limits.burst));
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#waiters.length === 0 && this.tryTake(tokens)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        tokens,
        resolve,
        reject,
        signal,
        onAbort: () => {
          this.#leave(waiter);
          reject(signal?.reason);
          this.#serve();
        },
      };
      signal?.addEventListener('abort', waiter.onAbort, { once: true });
      this.#waiters.push(waiter);
      this.#serve();
    });
  }

  /** Takes `tokens` if they are there and nobody waits; tells whether it did. */
  tryTake(tokens: number): boolean {
    this.#fill();
    if (this.#waiters.length > 0 || this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** Takes as many whole tokens as there are, up to `most`, although others wait: for whom it is the turn. Answers how many. */
  takeUpTo(most: number): number {
    this.#fill();
    const taken = Math.max(0, Math.min(most, Math.floor(this.#tokens)));
    this.#tokens -= taken;
    return taken;
  }

  /** Gives back tokens that were taken and not used. */
  refund(tokens: number): void {
    this.#fill();
    this.#tokens = Math.min(this.#limits.burst, this.#tokens + tokens);
    this.#serve();
  }

  #fill(): void {
    const nowMs = this.#clock.monotonic();
    const { ratePerSecond, burst } = this.#limits;
    const elapsedMs = nowMs - this.#filledAtMs;
    this.#filledAtMs = nowMs;
    if (ratePerSecond === Number.POSITIVE_INFINITY) this.#tokens = burst;
    else this.#tokens = Math.min(burst, this.#tokens + (elapsedMs * ratePerSecond) / 1000);
  }

  #leave(waiter: Waiter): void {
    waiter.signal?.removeEventListener('abort', waiter.onAbort);
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
  }

  #serve(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#fill();
    for (;;) {
      const first = this.#waiters[0];
      if (!first) return;
      if (this.#tokens < first.tokens) break;
      this.#tokens -= first.tokens;
      this.#leave(first);
      first.resolve();
    }
    const { ratePerSecond } = this.#limits;
    if (ratePerSecond === 0) return;
    const missing = this.#waiters[0]!.tokens - this.#tokens;
    // At least 1 ms: a fraction that rounds to nothing would spin.
    const delayMs = Math.max(1, Math.ceil((missing / ratePerSecond) * 1000));
    this.#timer = this.#clock.after(Math.min(delayMs, 60_000), () => this.#serve());
  }
}

function checkLimits({ ratePerSecond, burst }: TokenBucketLimits): void {
  if (!(ratePerSecond >= 0)) throw new RangeError(`rate must be 0 or more, not ${ratePerSecond}`);
  if (!(burst >= 1)) throw new RangeError(`burst must be 1 or more, not ${burst}`);
}

function burstError(tokens: number, burst: number): RangeError {
  return new RangeError(`${tokens} tokens exceed the burst of ${burst}: they would never be there`);
}
