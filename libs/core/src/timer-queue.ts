const ABSENT = 0xffffffff;
const MIN_CAPACITY = 64;

/** The greatest handle: one below the mark for "not queued". */
export const MAX_HANDLE = ABSENT - 1;

/**
 * Timers for millions of entries, without an object for any of them. An entry is a handle (an integer from 0 to
 * {@link MAX_HANDLE}; the queue's memory grows with the greatest one in use, so number densely) with a due time in
 * milliseconds (any finite number). The order is by due time, then by handle. Changes cost O(log n).
 *
 * A 4-ary heap of handles, with a due time and a place in the heap per handle: 16 bytes an entry.
 */
export class TimerQueue {
  /** By handle. */
  #due: Float64Array;
  /** By handle: the index in the heap, or ABSENT. */
  #place: Uint32Array;
  /** Handles, the earliest first. */
  #heap: Uint32Array;
  #size = 0;

  constructor(capacity = MIN_CAPACITY) {
    if (!Number.isInteger(capacity) || capacity < 0 || capacity > ABSENT) {
      throw new RangeError(`a capacity of ${capacity} is no number of handles`);
    }
    this.#due = new Float64Array(capacity);
    this.#place = new Uint32Array(capacity).fill(ABSENT);
    this.#heap = new Uint32Array(Math.min(capacity, MIN_CAPACITY));
  }

  /** How many entries are queued. */
  get size(): number {
    return this.#size;
  }

  /** The memory of the queue in bytes. */
  get byteLength(): number {
    return this.#due.byteLength + this.#place.byteLength + this.#heap.byteLength;
  }

  /** Queues a handle, or moves it to another due time. */
  upsert(handle: number, dueMs: number): void {
    if (!Number.isInteger(handle) || handle < 0 || handle > MAX_HANDLE)
      throw new RangeError(`${handle} is no handle`);
    if (!Number.isFinite(dueMs)) throw new RangeError(`${dueMs} is no due time`);
    if (handle >= this.#place.length) this.#growHandles(handle + 1);
    const place = this.#place[handle]!;
    if (place === ABSENT) {
      if (this.#size === this.#heap.length) this.#growHeap();
      this.#due[handle] = dueMs;
      this.#rise(handle, this.#size++);
      return;
    }
    const before = this.#due[handle]!;
    this.#due[handle] = dueMs;
    if (dueMs < before) this.#rise(handle, place);
    else if (dueMs > before) this.#sink(handle, place);
  }

  /** Takes a handle out; false when it was not queued. */
  remove(handle: number): boolean {
    const place = this.#place[handle] ?? ABSENT;
    if (place === ABSENT) return false;
    this.#place[handle] = ABSENT;
    this.#size--;
    if (place === this.#size) return true;
    const last = this.#heap[this.#size]!;
    if (place > 0 && this.#before(last, this.#heap[(place - 1) >> 2]!)) this.#rise(last, place);
    else this.#sink(last, place);
    return true;
  }

  /** The due time of a handle in milliseconds; undefined when it is not queued. */
  dueOf(handle: number): number | undefined {
    return (this.#place[handle] ?? ABSENT) === ABSENT ? undefined : this.#due[handle];
  }

  /** The earliest due time in milliseconds; +Infinity when the queue is empty. */
  peekDue(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#due[this.#heap[0]!]!;
  }

  /**
   * Takes out the entries due at or before `nowMs`, in order, into `out` from index 0: at most `limit`, and at most
   * what `out` holds. Returns how many. Their handles are free to be queued again.
   */
  popDue(nowMs: number, limit: number, out: Uint32Array): number {
    const most = Math.min(limit, out.length);
    let count = 0;
    while (count < most && this.#size > 0) {
      const handle = this.#heap[0]!;
      if (this.#due[handle]! > nowMs) break;
      out[count++] = handle;
      this.remove(handle);
    }
    return count;
  }

  #before(a: number, b: number): boolean {
    const dueA = this.#due[a]!;
    const dueB = this.#due[b]!;
    return dueA < dueB || (dueA === dueB && a < b);
  }

  #rise(handle: number, from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 2;
      const above = this.#heap[parent]!;
      if (!this.#before(handle, above)) break;
      this.#put(above, place);
      place = parent;
    }
    this.#put(handle, place);
  }

  #sink(handle: number, from: number): void {
    let place = from;
    for (;;) {
      const first = place * 4 + 1;
      if (first >= this.#size) break;
      const end = Math.min(first + 4, this.#size);
      let least = first;
      for (let child = first + 1; child < end; child++) {
        if (this.#before(this.#heap[child]!, this.#heap[least]!)) least = child;
      }
      const below = this.#heap[least]!;
      if (!this.#before(below, handle)) break;
      this.#put(below, place);
      place = least;
    }
    this.#put(handle, place);
  }

  #put(handle: number, place: number): void {
    this.#heap[place] = handle;
    this.#place[handle] = place;
  }

  #growHandles(needed: number): void {
    const length = Math.min(
      ABSENT,
      Math.max(needed, this.#place.length + (this.#place.length >> 1), MIN_CAPACITY),
    );
    const due = new Float64Array(length);
    due.set(this.#due);
    const place = new Uint32Array(length).fill(ABSENT, this.#place.length);
    place.set(this.#place);
    this.#due = due;
    this.#place = place;
  }

  #growHeap(): void {
    const heap = new Uint32Array(Math.max(MIN_CAPACITY, this.#heap.length + (this.#heap.length >> 1)));
    heap.set(this.#heap);
    this.#heap = heap;
  }
}
