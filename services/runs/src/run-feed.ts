import { type Clock, sleep } from '@carillon/core/clock.ts';
import { resourceExhausted, unavailable } from '@carillon/core/domain-error.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
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
const MIN_PAUSE_MS = 100;

/** The most runs of one read: more at once would be more than followers can be told. */
const MAX_ROWS = 10_000;

/** Following from one position on, until nobody does any more, or the position is lost. */
class Session {
  readonly followers = new Set<FeedFollower>();
  readonly doorbell: Doorbell;
  /** The position is lost: nobody joins any more. */
  readonly over = new AbortController();
  /** Resolves when the present is known, so that whatever is committed later will be told. */
  readonly begun: Promise<FeedPosition>;

  constructor({ db, clock }: RunFeedOptions) {
    this.doorbell = new Doorbell(clock);
    this.begun = readFeedPosition(db);
  }

  lose(reason: Error): void {
    this.over.abort(reason);
    for (const follower of this.followers) follower.lost(reason);
    this.followers.clear();
  }
}

/** One reader of the changes of runs for all who follow them in this process. While nobody does, nothing is read. */
export class RunFeed {
  readonly #options: RunFeedOptions;
  #session: Session | undefined;

  constructor(options: RunFeedOptions) {
    this.#options = options;
  }

  /** Runs may have changed. */
  hint(): void {
    this.#session?.doorbell.ring();
  }

  /**
   * The database may have crashed, or be another one by now. It may then hand out again transaction ids that a snapshot of
   * before says it has seen, so nobody goes on from there: whoever follows has to begin again.
   */
  interrupt(cause: Error): void {
    this.#session?.lose(
      unavailable(
        'FEED_INTERRUPTED',
        'the changes of runs cannot be read now: watch again',
        undefined,
        cause,
      ),
    );
    this.#session = undefined;
  }

  /** Follows from now on; some earlier changes may be told too. Call the result to end it. */
  async follow(follower: FeedFollower): Promise<() => void> {
    this.#session ??= this.#open();
    const session = this.#session;
    session.followers.add(follower);
    const end = (): void => {
      session.followers.delete(follower);
      session.doorbell.ring();
    };
    try {
      await session.begun;
    } catch (error) {
      end();
      throw error;
    }
    return end;
  }

  #open(): Session {
    const session = new Session(this.#options);
    void this.#read(session);
    return session;
  }

  async #read(session: Session): Promise<void> {
    const { db, clock, logger } = this.#options;
    const over = session.over.signal;
    try {
      let position = await session.begun;
      while (session.followers.size > 0) {
        const read = await readFeed(db, position, MAX_ROWS);
        position = read.position;
        if (read.truncated) {
          session.lose(
            resourceExhausted('TOO_MANY_CHANGES', 'too many runs have changed at once: watch again'),
          );
        } else if (read.rows.length > 0) {
          for (const follower of session.followers) follower.changed(read.rows);
        }
        await sleep(clock, MIN_PAUSE_MS, over);
        await session.doorbell.wait(POLL_MS - MIN_PAUSE_MS, over);
      }
      if (this.#session === session) this.#session = undefined;
    } catch (error) {
      if (this.#session === session) this.#session = undefined;
      if (over.aborted) return;
      logger.warn({ err: error }, 'the feed of runs was interrupted');
      session.lose(
        unavailable(
          'FEED_INTERRUPTED',
          'the changes of runs cannot be read now: watch again',
          undefined,
          error,
        ),
      );
    }
  }
}
