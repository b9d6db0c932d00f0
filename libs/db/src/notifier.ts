import type { Clock, Timer } from '@carillon/core/clock.ts';
import type pg from 'pg';
import { PendingHints } from './pending-hints.ts';
import { createPool } from './pool.ts';

/** How to send notifications. */
export interface NotifierOptions {
  readonly url: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Told of hints that could not be sent, and of lost connections. Nothing else is lost: readers poll as well. */
  readonly onError: (error: Error) => void;
  /** Pause between two sendings, in milliseconds; what is announced meanwhile goes in one. Default 2. */
  readonly intervalMs?: number;
  readonly clock: Clock;
}

/** PostgreSQL refuses payloads of 8,000 bytes and more. */
const MAX_PAYLOAD_BYTES = 7_999;

const STATEMENT_TIMEOUT_MS = 2_000;
const IDLE_TIMEOUT_MS = 3_600_000;

/**
 * Sends NOTIFY from a connection of its own, many in one statement. Call it after the commit, never within the
 * transaction: there it would serialise all commits of the database.
 */
export class Notifier {
  readonly #options: NotifierOptions;
  readonly #pool: pg.Pool;
  readonly #hints = new PendingHints();
  #sending: Promise<void> | undefined;
  #pause: Timer | undefined;
  #closed = false;

  constructor(options: NotifierOptions) {
    this.#options = options;
    this.#pool = createPool({
      url: options.url,
      applicationName: options.applicationName,
      onError: options.onError,
      max: 1,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      idleInTransactionTimeoutMs: STATEMENT_TIMEOUT_MS,
      // Kept warm: a hint after a quiet time should not wait for a new connection.
      idleTimeoutMs: IDLE_TIMEOUT_MS,
    });
  }

  /**
   * Announces on a channel, soon: at once when nothing was sent lately. Equal announcements are sent once; when more
   * than 1,000 different ones wait, a single one without payload stands for all.
   */
  notify(channel: string, payload = ''): void {
    if (this.#closed) throw new Error('the notifier is closed');
    if (Buffer.byteLength(payload) > MAX_PAYLOAD_BYTES) {
      throw new RangeError(`a payload has at most ${MAX_PAYLOAD_BYTES} bytes`);
    }
    this.#hints.add(channel, payload);
    this.#sendUnlessBusy();
  }

  /** Sends what waits, and closes the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#pause?.cancel();
    await this.#sending;
    if (!this.#hints.isEmpty) await this.#send();
    await this.#pool.end();
  }

  #sendUnlessBusy(): void {
    if (this.#sending || this.#pause || this.#hints.isEmpty) return;
    this.#sending = this.#send().finally(() => {
      this.#sending = undefined;
      if (this.#closed) return;
      this.#pause = this.#options.clock.after(this.#options.intervalMs ?? 2, () => {
        this.#pause = undefined;
        this.#sendUnlessBusy();
      });
    });
  }

  async #send(): Promise<void> {
    const channels: string[] = [];
    const payloads: string[] = [];
    for (const [channel, waiting] of this.#hints.take()) {
      for (const payload of waiting === 'many' ? [''] : waiting) {
        channels.push(channel);
        payloads.push(payload);
      }
    }
    try {
      await this.#pool.query(
        'select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as hint (channel, payload)',
        [channels, payloads],
      );
    } catch (error) {
      this.#options.onError(new Error(`${channels.length} hints were not sent`, { cause: error }));
    }
  }
}
