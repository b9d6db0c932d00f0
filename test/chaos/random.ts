/** Chance that can be had again: mulberry32. */
export class Random {
  readonly seed: number;
  #state: number;

  /** @param seed an unsigned 32-bit integer */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** In [0, 1). */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** In [from, to). */
  between(from: number, to: number): number {
    return from + this.fraction() * (to - from);
  }

  /** All of them, in any order. */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let left = shuffled.length; left > 1; left--) {
      const picked = Math.floor(this.fraction() * left);
      [shuffled[left - 1], shuffled[picked]] = [shuffled[picked]!, shuffled[left - 1]!];
    }
    return shuffled;
  }

  /** One of them. */
  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.fraction() * items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }
}
