import type { Clock, Timer } from '@carillon/core/clock.ts';
import { type Breaker, BreakerOpenError, type BreakerState } from '@carillon/scheduler/breaker.ts';

/** When it opens and closes. */
export interface SimBreakerOptions {
  readonly volume: number;
  readonly resetMs: number;
  readonly windowMs: number;
  readonly isFailure: (error: unknown) => boolean;
  readonly onState: (state: BreakerState) => void;
}

/** A breaker that behaves as opossum does, by a clock of ours: opens at half of the calls failing, half-open admits one. */
export class SimBreaker implements Breaker {
  readonly #clock: Clock;
  readonly #o: SimBreakerOptions;
  #state: BreakerState = 'closed';
  #trying = false;
  #results: { readonly atMs: number; readonly failed: boolean }[] = [];
  #reset: Timer | undefined;

  constructor(clock: Clock, options: SimBreakerOptions) {
    this.#clock = clock;
    this.#o = options;
  }

  get state(): BreakerState {
    return this.#state;
  }

  async call<T>(call: () => Promise<T>): Promise<T> {
    if (this.#state === 'open' || (this.#state === 'half-open' && this.#trying)) {
      throw new BreakerOpenError('the circuit breaker is open');
    }
    this.#trying = this.#state === 'half-open';
    try {
      const result = await call();
      this.#ended(false);
      return result;
    } catch (error) {
      this.#ended(this.#o.isFailure(error));
      throw error;
    }
  }

  close(): void {
    this.#reset?.cancel();
  }

  #ended(failed: boolean): void {
    const nowMs = this.#clock.monotonic();
    if (this.#state === 'half-open') {
      this.#trying = false;
      this.#results = [];
      if (failed) this.#open();
      else this.#become('closed');
      return;
    }
    this.#results = this.#results.filter(({ atMs }) => atMs > nowMs - this.#o.windowMs);
    this.#results.push({ atMs: nowMs, failed });
    const failures = this.#results.filter((result) => result.failed).length;
    if (
      this.#state === 'closed' &&
      this.#results.length >= this.#o.volume &&
      failures * 2 >= this.#results.length
    ) {
      this.#open();
    }
  }

  #open(): void {
    this.#become('open');
    this.#reset?.cancel();
    this.#reset = this.#clock.after(this.#o.resetMs, () => this.#become('half-open'));
  }

  #become(state: BreakerState): void {
    this.#state = state;
    this.#o.onState(state);
  }
}
