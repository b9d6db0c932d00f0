import { randomUUID } from 'node:crypto';
import { type Clock, type Entropy, MAX_TIMER_MS, type Timer } from '@carillon/core/clock.ts';

/** The machine's time. With {@link systemEntropy} the only place in the services that touches the ambient ones. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs <= MAX_TIMER_MS)) throw new RangeError(`timer of ${delayMs} ms exceeds ${MAX_TIMER_MS} ms`);
    // Node's timers may fire up to 1 ms before their time; the contract is "no earlier".
    const due = performance.now() + delayMs;
    let handle = setTimeout(check, Math.max(0, delayMs));
    function check(): void {
      const left = due - performance.now();
      if (left > 0) handle = setTimeout(check, Math.ceil(left));
      else callback();
    }
    return { cancel: () => clearTimeout(handle) };
  },
};

/** The machine's randomness; UUIDs come from the cryptographic generator. */
export const systemEntropy: Entropy = {
  fraction: () => Math.random(),
  uuid: () => randomUUID(),
};
