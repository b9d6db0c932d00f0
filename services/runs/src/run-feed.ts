import { type Clock, sleep } from '@carillon/core/clock.ts';
import { resourceExhausted, unavailable } from '@carillon/core/domain-error.ts';
import { type FeedPosition, readFeed, readFeedPosition } from '@carillon/db/tables/run-feed.ts';
import type { RunDb, RunRow } from '@carillon/db/tables/runs.ts';
import type { Logger } from '@carillon/server';

/** Who follows the changes of runs. */
export interface FeedFollower {
  /** Runs have changed; in no particular order, and perhaps some that were told before. Must not throw. */
  changed(rows: readonly RunRow[]): void;
  /** The feed has lost its place, and tells this follower nothing any more. Must not throw. */
  lost(reason: Error): void;
}

/** What following needs. */
export interface RunFeedOptions {
  readonly db: RunDb;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Without a hint the feed is read this often. */
const POLL_MS = 1_000;

/** However many hints there are, it is not read more often: each read looks at every partition's index. */
const MIN_PAUSE_MS = 50;

/** The most runs of one read: more at once would be more than followers can be told. */
const MAX_ROWS = 10_000;

/** One reader of the changes of runs for all who follow them in this process. While nobody does, nothing is read. */
export class RunFeed {
  readonly #options: RunFeedOptions;
  readonly #followers = new Set<FeedFollower>();
  #reading: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #hinted = false;

  constructor(options: RunFeedOptions) {
    this.#options = options;
  }

  /** Runs may have changed. */
  hint(): void {
    this.#hinted = true;
    this.#wake?.();
  }

  /** Follows from now on; some earlier changes may be told too. Call the result to end it. */
  async follow(follower: FeedFollower): Promise<() => void> {
    this.#followers.add(follower);
    const end = (): void => {
      this.#followers.delete(follower);
      this.#wake?.();
    };
    try {
      await this.#start();
    } catch (error) {
      end();
      throw error;
    }
    return end;
  }

  /** Resolves when the present is known to the reader, so that whatever is committed later will be told. */
  #start(): Promise<void> {
    this.#reading ??= readFeedPosition(this.#options.db).then(
      (position) => void this.#read(position),
      (error: unknown) => {
        this.#reading = undefined;
        throw error;
      },
    );
    return this.#reading;
  }

  async #read(start: FeedPosition): Promise<void> {
    const { db, clock, logger } = this.#options;
    let position = start;
    while (this.#followers.size > 0) {
      try {
        const read = await readFeed(db, position, MAX_ROWS);
        position = read.position;
        if (read.truncated) {
          this.#lose(
            resourceExhausted('TOO_MANY_CHANGES', 'too many runs have changed at once: watch again'),
          );
        } else if (read.rows.length > 0) {
          for (const follower of this.#followers) follower.changed(read.rows);
        }
      } catch (error) {
        // After a crash or a promotion of the database the position may mean nothing, so nobody goes on from it.
        logger.warn({ err: error }, 'the feed of runs was interrupted');
        this.#lose(
          unavailable(
            'FEED_INTERRUPTED',
            'the changes of runs cannot be read now: watch again',
            undefined,
            error,
          ),
        );
      }
      await this.#pause(clock);
    }
    this.#reading = undefined;
  }

  async #pause(clock: Clock): Promise<void> {
    await sleep(clock, MIN_PAUSE_MS);
    if (!this.#hinted && this.#followers.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = clock.after(POLL_MS - MIN_PAUSE_MS, resolve);
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
      timer.cancel();
    }
    this.#hinted = false;
  }

  #lose(reason: Error): void {
    for (const follower of this.#followers) follower.lost(reason);
    this.#followers.clear();
  }
}
