/** An exponential back-off. */
export interface Backoff {
  /** The longest delay after the first failure, in milliseconds. */
  readonly initialMs: number;
  /** The longest delay after any, in milliseconds. */
  readonly maxMs: number;
}

/**
 * The delay in milliseconds after failure number `failures` (from 1), with full jitter: `fraction`, in [0, 1), of
 * `initialMs` doubled with each further failure, and never more than `maxMs`.
 */
export function backoffMs({ initialMs, maxMs }: Backoff, failures: number, fraction: number): number {
  if (!(failures >= 1)) throw new RangeError(`back-off after ${failures} failures`);
  return fraction * Math.min(maxMs, initialMs * 2 ** (failures - 1));
}
