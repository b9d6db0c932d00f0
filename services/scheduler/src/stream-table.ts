import type { Timing } from './timing.ts';

const INITIAL_CAPACITY = 1024;

/** No stream; the end of a chain. */
export const NO_STREAM = 0xffffffff;

/**
 * The streams in memory: one for each stretch of a schedule's slots that is still to be handed out. A schedule in its steady
 * state has one, from its next slot on for ever; one that catches up has a further one for what it missed. Typed arrays,
 * because there are as many as there are schedules.
 */
export class StreamTable {
  #capacity = INITIAL_CAPACITY;
  #used = 0;
  #size = 0;
  #free = NO_STREAM;

  /** The schedule's handle. */
  schedule = new Uint32Array(INITIAL_CAPACITY);
  /** The next stream of the same schedule, or of the free list. */
  next = new Uint32Array(INITIAL_CAPACITY);
  /** The number of the span it is of. */
  span = new Uint32Array(INITIAL_CAPACITY);
  revision = new Int32Array(INITIAL_CAPACITY);
  /** The next slot's nominal time in epoch seconds. */
  nominal = new Float64Array(INITIAL_CAPACITY);
  /** The next slot's due time in epoch milliseconds. */
  due = new Float64Array(INITIAL_CAPACITY);
  /** No slot's nominal time lies after this second. */
  nominalThrough = new Float64Array(INITIAL_CAPACITY);
  /** No slot falls due after this millisecond. */
  dueThrough = new Float64Array(INITIAL_CAPACITY);
  /** Slots up to this nominal time, in milliseconds, may have been sent already, as those of a span that has given way since. */
  sentThrough = new Float64Array(INITIAL_CAPACITY);
  /** 1: its slots are live; 0: they were missed. */
  live = new Uint8Array(INITIAL_CAPACITY);
  /** 0: its next slot is not due; 1: it waits in a ready queue; 2: it is put aside. */
  ready = new Uint8Array(INITIAL_CAPACITY);
  /** 1: dropped while it waited there; freed when it comes up. */
  dropped = new Uint8Array(INITIAL_CAPACITY);
  readonly timing: (Timing | undefined)[] = [];

  /** Streams have numbers below this. */
  get used(): number {
    return this.#used;
  }

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  add(): number {
    this.#size++;
    if (this.#free !== NO_STREAM) {
      const stream = this.#free;
      this.#free = this.next[stream]!;
      this.ready[stream] = 0;
      this.dropped[stream] = 0;
      return stream;
    }
    if (this.#used === this.#capacity) this.#grow();
    return this.#used++;
  }

  free(stream: number): void {
    this.#size--;
    this.timing[stream] = undefined;
    this.next[stream] = this.#free;
    this.#free = stream;
  }

  #grow(): void {
    this.#capacity *= 2;
    const capacity = this.#capacity;
    this.schedule = grown(this.schedule, new Uint32Array(capacity));
    this.next = grown(this.next, new Uint32Array(capacity));
    this.span = grown(this.span, new Uint32Array(capacity));
    this.revision = grown(this.revision, new Int32Array(capacity));
    this.nominal = grown(this.nominal, new Float64Array(capacity));
    this.due = grown(this.due, new Float64Array(capacity));
    this.nominalThrough = grown(this.nominalThrough, new Float64Array(capacity));
    this.dueThrough = grown(this.dueThrough, new Float64Array(capacity));
    this.sentThrough = grown(this.sentThrough, new Float64Array(capacity));
    this.live = grown(this.live, new Uint8Array(capacity));
    this.ready = grown(this.ready, new Uint8Array(capacity));
    this.dropped = grown(this.dropped, new Uint8Array(capacity));
  }
}

/** `to` with the contents of `from`. */
export function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
