import type { Clock, Entropy } from '@carillon/core/clock.ts';

/** The machine's clocks, for tests against a real server. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
};

/** The machine's randomness, for the same. */
export const systemEntropy: Entropy = {
  fraction: () => Math.random(),
  uuid: () => crypto.randomUUID(),
};
