import type { Clock, Timer } from './clock.ts';

/** Lets one loop sleep until there is something to do. A ring while nobody waits is kept for the next wait. */
export class Doorbell {
  readonly #clock: Clock;
  #rung = false;
  #answer: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ring(): void {
    this.#rung = true;
    this.#answer?.();
  }

  /** Resolves at the next ring, or after `limitMs`; rejects with the signal's reason when it aborts. */
  wait(limitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      let timer: Timer | undefined;
      const leave = (): void => {
        timer?.cancel();
        signal.removeEventListener('abort', onAbort);
        this.#answer = undefined;
      };
      const onAbort = (): void => {
        leave();
        reject(signal.reason);
      };
      this.#answer = () => {
        leave();
        this.#rung = false;
        resolve();
      };
      if (this.#rung) {
        this.#answer();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      timer = this.#clock.after(limitMs, () => this.#answer?.());
    });
  }
}
