/** Something that happens at a time, to a process or to the world. */
export interface Happening {
  readonly atMs: number;
  readonly order: number;
  readonly process: Mortal | undefined;
  readonly happen: () => void;
  cancelled: boolean;
}

/** What can end or stand still: its happenings are dropped, or wait. */
export interface Mortal {
  readonly alive: boolean;
  readonly frozen: boolean;
  /** Happenings that came up while it stood still. */
  readonly deferred: Happening[];
}

/** How many happenings are run between two turns of Node's event loop. */
const STEPS_PER_TURN = 32;

/**
 * The one true time of a simulated world, in milliseconds from 0, and all that is going to happen in it. Between two happenings every
 * promise that can go on does so, and nothing else in the process runs: a world is a function of its seed.
 */
export class VirtualTime {
  #nowMs = 0;
  #order = 0;
  readonly #heap: Happening[] = [];
  #happened = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** How much has happened so far. */
  get happened(): number {
    return this.#happened;
  }

  /** Makes something happen in `delayMs` from now; with a process, only if it lives then, and when it does not stand still. */
  after(delayMs: number, happen: () => void, process?: Mortal): Happening {
    const happening: Happening = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order++,
      process,
      happen,
      cancelled: false,
    };
    this.#push(happening);
    return happening;
  }

  /** What a process missed while it stood still comes up now, in order. */
  resume(process: Mortal): void {
    for (const { happen, cancelled } of process.deferred.splice(0)) {
      if (!cancelled) this.after(0, happen, process);
    }
  }

  /** Lets things happen until `done` says so, which is asked after each, or nothing is left. Rejects with what a happening throws. */
  run(done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let ended = false;
      // Node runs all microtasks between two immediates, so many of them can share a turn of the event loop.
      const step = (): void => {
        if (ended) return;
        try {
          if (done() || !this.#next()) {
            ended = true;
            resolve();
          }
        } catch (error) {
          ended = true;
          reject(error);
        }
      };
      const turn = (): void => {
        if (ended) return;
        for (let count = 0; count < STEPS_PER_TURN; count++) setImmediate(step);
        setImmediate(turn);
      };
      turn();
    });
  }

  #next(): boolean {
    for (;;) {
      const happening = this.#pop();
      if (!happening) return false;
      if (happening.cancelled || happening.process?.alive === false) continue;
      this.#nowMs = Math.max(this.#nowMs, happening.atMs);
      if (happening.process?.frozen) {
        happening.process.deferred.push(happening);
        continue;
      }
      this.#happened++;
      happening.happen();
      return true;
    }
  }

  #push(happening: Happening): void {
    const heap = this.#heap;
    let place = heap.length;
    heap.push(happening);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!before(happening, heap[parent]!)) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = happening;
  }

  #pop(): Happening | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = last;
    return first;
  }
}

function before(a: Happening, b: Happening): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
