import type { Clock, Timer } from '@carillon/core/clock.ts';
import { resourceExhausted } from '@carillon/core/domain-error.ts';

/** How calls are gathered. */
export interface GroupCommitOptions<Item, Result> {
  /** Does the work of many at once. Answers in the order of `items`; when it rejects, all of them have failed. */
  readonly flush: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** The most items of a flush. */
  readonly maxItems: number;
  /** How many flushes may be under way at once. */
  readonly maxFlushes: number;
  /** How long calls wait for the flush under way before another one starts beside it, in milliseconds. */
  readonly patienceMs: number;
  /** How many items may wait; more are refused. */
  readonly maxWaiting: number;
  readonly clock: Clock;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Turns calls that come at the same time into one. A call that finds nothing under way starts at once, so a lone one never
 * waits. What comes while a flush is under way goes together into the next, so groups grow with the load and need no timer. A
 * flush that takes unusually long, as behind a lock, does not hold the others up: after a while they go beside it.
 */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  #flushes = 0;
  #impatience: Timer | undefined;

  constructor(options: GroupCommitOptions<Item, Result>) {
    this.#options = options;
  }

  /** Does the work of one item, with others if there are any. @throws {DomainError} RESOURCE_EXHAUSTED when too many wait. */
  async submit(item: Item): Promise<Result> {
    if (this.#waiting.length >= this.#options.maxWaiting) {
      throw resourceExhausted('TOO_MANY_WAITING', 'too many calls wait for the database', {}, RETRY_AFTER_MS);
    }
    return await new Promise<Result>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      // Not at once: the calls that arrived in the same turn of the event loop go together.
      if (this.#waiting.length === 1) queueMicrotask(() => this.#startOrWait());
    });
  }

  #startOrWait(): void {
    if (this.#waiting.length === 0) return;
    if (this.#flushes === 0) this.#start();
    else {
      const { clock, patienceMs } = this.#options;
      this.#impatience ??= clock.after(patienceMs, () => this.#start());
    }
  }

  #start(): void {
    this.#impatience?.cancel();
    this.#impatience = undefined;
    const { maxFlushes, maxItems } = this.#options;
    if (this.#flushes >= maxFlushes) return;
    const group = this.#waiting.slice(0, maxItems);
    this.#waiting = this.#waiting.slice(maxItems);
    if (group.length > 0) void this.#flush(group);
    this.#startOrWait();
  }

  async #flush(group: readonly Waiting<Item, Result>[]): Promise<void> {
    this.#flushes++;
    try {
      const results = await this.#options.flush(group.map(({ item }) => item));
      if (results.length !== group.length) {
        throw new Error(`a flush of ${group.length} items gave ${results.length} results`);
      }
      for (const [index, result] of results.entries()) group[index]?.resolve(result);
    } catch (error) {
      for (const { reject } of group) reject(error);
    } finally {
      this.#flushes--;
      this.#startOrWait();
    }
  }
}

const RETRY_AFTER_MS = 200;
