import Opossum from 'opossum';

/** When the breaker opens and closes. */
export interface BreakerOptions {
  /** The share of failed calls at which it opens, in percent. */
  readonly errorThresholdPercentage: number;
  /** The fewest calls in the window before it may open. */
  readonly volumeThreshold: number;
  /** How long it stays open before it admits one call. */
  readonly resetTimeoutMs: number;
  /** The window in which calls are counted. */
  readonly windowMs: number;
  /** Whether an error counts as a failure of the service. */
  readonly isFailure: (error: unknown) => boolean;
  /** Told of every change of state. */
  readonly onState: (state: BreakerState) => void;
}

export type BreakerState = 'closed' | 'half-open' | 'open';

/** A call was not admitted: nothing was sent. */
export class BreakerOpenError extends Error {
  override readonly name = 'BreakerOpenError';
}

/** What stands between the executor and a service that may be failing. */
export interface Breaker {
  readonly state: BreakerState;
  /**
   * Makes a call if it is admitted.
   *
   * @throws BreakerOpenError if it is not
   */
  call<T>(call: () => Promise<T>): Promise<T>;
  /** Stops its timers. */
  close(): void;
}

/**
 * opossum, as the executor needs it: an open breaker delays, it never drops. opossum's own time-out does not cancel the call, and its
 * abort controller is shared by all calls, so both are off: each call has its own deadline and signal.
 */
export class OpossumBreaker implements Breaker {
  readonly #breaker: Opossum<[() => Promise<unknown>], unknown>;

  constructor(options: BreakerOptions) {
    this.#breaker = new Opossum(async (call: () => Promise<unknown>) => await call(), {
      name: 'runs',
      timeout: false,
      errorThresholdPercentage: options.errorThresholdPercentage,
      volumeThreshold: options.volumeThreshold,
      resetTimeout: options.resetTimeoutMs,
      rollingCountTimeout: options.windowMs,
      errorFilter: (error: unknown) => !options.isFailure(error),
    });
    this.#breaker.on('open', () => options.onState('open'));
    this.#breaker.on('halfOpen', () => options.onState('half-open'));
    this.#breaker.on('close', () => options.onState('closed'));
  }

  get state(): BreakerState {
    if (this.#breaker.opened) return 'open';
    return this.#breaker.halfOpen ? 'half-open' : 'closed';
  }

  async call<T>(call: () => Promise<T>): Promise<T> {
    try {
      return (await this.#breaker.fire(call)) as T;
    } catch (error) {
      if (isNotAdmitted(error)) throw new BreakerOpenError('the circuit breaker is open', { cause: error });
      throw error;
    }
  }

  close(): void {
    this.#breaker.shutdown();
  }
}

function isNotAdmitted(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return error.code === 'EOPENBREAKER' || error.code === 'ESEMLOCKED' || error.code === 'ESHUTDOWN';
}
