import { type Clock, MAX_TIMER_MS, type Timer } from './clock.ts';

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that moves only when told to: for tests and for the simulation. */
export class ManualClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  #order = 0;
  readonly #entries = new Set<Entry>();

  constructor(wallMs = 0) {
    this.#wallMs = wallMs;
  }

  now(): number {
    return this.#wallMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    if (!(delayMs <= MAX_TIMER_MS)) throw new RangeError(`timer of ${delayMs} ms exceeds ${MAX_TIMER_MS} ms`);
    const entry: Entry = {
      at: this.#monotonicMs + Math.max(0, delayMs),
      order: this.#order++,
      callback,
    };
    this.#entries.add(entry);
    return { cancel: () => void this.#entries.delete(entry) };
  }

  /** The monotonic instant of the next timer, or Infinity. */
  nextTimer(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries) at = Math.min(at, entry.at);
    return at;
  }

  /** Moves both clocks on by `ms`, firing what falls due on the way, in order. */
  advance(ms: number): void {
    const end = this.#monotonicMs + ms;
    for (;;) {
      let due: Entry | undefined;
      for (const entry of this.#entries) {
        if (entry.at > end) continue;
        if (!due || entry.at < due.at || (entry.at === due.at && entry.order < due.order)) due = entry;
      }
      if (!due) break;
      this.#entries.delete(due);
      this.#moveTo(due.at);
      due.callback();
    }
    this.#moveTo(end);
  }

  /** Steps the wall clock alone, as an administrator or NTP would. */
  stepWall(ms: number): void {
    this.#wallMs += ms;
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs;
    this.#monotonicMs = monotonicMs;
  }
}
