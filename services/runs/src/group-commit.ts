import { resourceExhausted } from '@carillon/core/domain-error.ts';

/** How calls are gathered. */
export interface GroupCommitOptions<Item, Result> {
  /** Does the work of many at once. Answers in the order of `items`; when it rejects, all of them have failed. */
  readonly flush: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** The most items of a flush. */
  readonly maxItems: number;
  /** How many flushes may be under way at once. */
  readonly maxFlushes: number;
  /** How many items may wait; more are refused. */
  readonly maxWaiting: number;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Turns calls that come at the same time into one. A call that finds nothing under way starts at once, so a lone one never
 * waits; what comes while flushes are under way goes together into the next, so that groups grow with the load and no timer
 * is needed.
 */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>;
  #waiting: Waiting<Item, Result>[] = [];
  #flushes = 0;

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
      if (this.#waiting.length === 1) queueMicrotask(() => this.#start());
    });
  }

  #start(): void {
    while (this.#waiting.length > 0 && this.#flushes < this.#options.maxFlushes) {
      const group = this.#waiting.slice(0, this.#options.maxItems);
      this.#waiting = this.#waiting.slice(this.#options.maxItems);
      this.#flushes++;
      void this.#flush(group);
    }
  }

  async #flush(group: readonly Waiting<Item, Result>[]): Promise<void> {
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
      this.#start();
    }
  }
}

const RETRY_AFTER_MS = 200;
