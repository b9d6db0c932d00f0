/** The value that a share of all does not exceed, by nearest rank; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** The middle one, of an even number the lower. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}
