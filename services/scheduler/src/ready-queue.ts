/**
 * What is ready, as numbers, by project: first in, first out within one, in turn between them, so that no project's herd
 * keeps the others waiting.
 */
export class ReadyQueue {
  readonly #rings = new Map<number, Ring>();
  /** The projects that have something ready, in the order of their turns. */
  readonly #turns = new Ring();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(project: number, stream: number): void {
    let ring = this.#rings.get(project);
    if (!ring) {
      ring = new Ring();
      this.#rings.set(project, ring);
    }
    if (ring.size === 0) this.#turns.push(project);
    ring.push(stream);
    this.#size++;
  }

  /**
   * The next one in turn, or undefined if none is ready.
   *
   * @param isHeld tells which projects are passed over: they keep what they have. Default: none
   */
  shift(isHeld?: (project: number) => boolean): number | undefined {
    const project = this.#nextProject(isHeld);
    if (project === undefined) return undefined;
    const ring = this.#rings.get(project)!;
    const stream = ring.shift()!;
    this.#size--;
    if (ring.size > 0) this.#turns.push(project);
    else this.#rings.delete(project);
    return stream;
  }

  #nextProject(isHeld: ((project: number) => boolean) | undefined): number | undefined {
    for (let turns = this.#turns.size; turns > 0; turns--) {
      const project = this.#turns.shift()!;
      if (!isHeld?.(project)) return project;
      this.#turns.push(project);
    }
    return undefined;
  }
}

/** A growing ring of unsigned 32-bit numbers. */
class Ring {
  #items = new Uint32Array(16);
  #head = 0;
  size = 0;

  push(item: number): void {
    const capacity = this.#items.length;
    if (this.size === capacity) {
      const items = new Uint32Array(capacity * 2);
      items.set(this.#items.subarray(this.#head));
      items.set(this.#items.subarray(0, this.#head), capacity - this.#head);
      this.#items = items;
      this.#head = 0;
    }
    this.#items[(this.#head + this.size) & (this.#items.length - 1)] = item;
    this.size++;
  }

  shift(): number | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#head]!;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.size--;
    return item;
  }
}
