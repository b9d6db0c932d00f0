/** The lateness of the runs seen last. */
export class LatenessWindow {
  readonly #size: number;
  readonly #values: number[] = [];

  /** @param size how many are kept. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Adds a value in milliseconds. */
  add(latenessMs: number): void {
    this.#values.push(Math.max(0, latenessMs));
    if (this.#values.length > this.#size) this.#values.shift();
  }

  /** How many there are. */
  get count(): number {
    return this.#values.length;
  }

  /** The smallest value that the share of all does not exceed; NaN when there are none. */
  quantile(share: number): number {
    const sorted = this.#values.toSorted((a, b) => a - b);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
  }

  /** The newest `width` values as bars. The scale is fixed and logarithmic, so that a bar means the same at any time. */
  sparkline(width: number): string {
    return this.#values
      .slice(-width)
      .map((value) => BARS[LEVELS.findIndex((limit) => value <= limit)] ?? '█')
      .join('');
  }
}

const BARS = '▁▂▃▄▅▆▇█';
/** The greatest lateness of each bar, in milliseconds. */
const LEVELS = [2, 5, 10, 25, 100, 500, 2_500, Number.POSITIVE_INFINITY];
