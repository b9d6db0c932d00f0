import type { Outstanding } from './slot.ts';

/** What is handed out and not settled, by the handle of its schedule. */
export class OutstandingItems {
  readonly #items = new Map<number, Set<Outstanding>>();
  #size = 0;
  #slots = 0;

  /** How many of them are slots, each to be sent. */
  get slots(): number {
    return this.#slots;
  }

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** All of them, by schedule. */
  entries(): Iterable<[schedule: number, items: ReadonlySet<Outstanding>]> {
    return this.#items.entries();
  }

  /** Those of one schedule. */
  of(schedule: number): ReadonlySet<Outstanding> {
    return this.#items.get(schedule) ?? NONE;
  }

  has(item: Outstanding): boolean {
    return this.of(item.schedule).has(item);
  }

  add(item: Outstanding): void {
    let items = this.#items.get(item.schedule);
    if (!items) {
      items = new Set();
      this.#items.set(item.schedule, items);
    }
    items.add(item);
    this.#size++;
    if (item.kind === 'slot') this.#slots++;
  }

  /** @throws {Error} if it is not outstanding */
  remove(item: Outstanding): void {
    const items = this.#items.get(item.schedule);
    if (!items?.delete(item)) throw new Error('settled what was not outstanding');
    if (items.size === 0) this.#items.delete(item.schedule);
    this.#size--;
    if (item.kind === 'slot') this.#slots--;
  }
}

const NONE: ReadonlySet<Outstanding> = new Set();
