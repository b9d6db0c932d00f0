import { quantile } from './quantile.ts';

/** Three quantiles of durations in milliseconds. */
export function quantiles(values: readonly number[]): string {
  const at = (share: number): string => `${rounded(quantile(values, share))} ms`;
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}`;
}

/** To a tenth. */
export function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** A whole number a second. */
export function rate(perSecond: number): string {
  return Math.round(perSecond).toLocaleString('en');
}

/** A line of a bench. */
export function print(what: string, figures: string): void {
  console.log(`${what.padEnd(46)} ${figures}`);
}
