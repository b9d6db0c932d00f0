import { type Backoff, backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, sleep, type Timer } from '@carillon/core/clock.ts';
import { ListenSession, SessionStateLostError } from './listen-session.ts';
import { PendingHints } from './pending-hints.ts';

/** What to listen to, and whom to tell. */
export interface ListenerOptions {
  /** Connection URL of PostgreSQL itself: a pooler in transaction mode is refused. */
  readonly url: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  readonly channels: readonly string[];
  /**
   * Notifications arrive as of now, after {@link Listener.start} and after every loss. Whatever was announced before
   * is unknown: read everything that follows from the database now.
   */
  readonly onListening: () => void;
  /** Something was announced. Calls are at least `coalesceMs` apart, however many notifications come. */
  readonly onHints: (hints: Hints) => void;
  /** The connection was lost, or could not be made; it is being made again. */
  readonly onLost: (error: Error) => void;
  /** Pause after a call of `onHints`, in milliseconds; what arrives meanwhile comes in one call. Default 5. */
  readonly coalesceMs?: number;
  /** Time from one heartbeat's answer to the next heartbeat, in milliseconds. Default 500. */
  readonly heartbeatMs?: number;
  /** Time that a heartbeat's answer may take, in milliseconds. Default 1,000. */
  readonly heartbeatTimeoutMs?: number;
  /** Limit for connecting, in milliseconds. Default 2,000. */
  readonly connectTimeoutMs?: number;
  /** Delays between tries to connect. Default: up to 50 ms, doubling up to 2 s. */
  readonly reconnect?: Backoff;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/**
 * What was announced since the last call: the distinct payloads by channel. A channel with more than 1,000 has
 * `'many'` instead: anything may have changed.
 */
export type Hints = ReadonlyMap<string, ReadonlySet<string> | 'many'>;

/**
 * A dedicated connection that listens, and is made anew whenever there is doubt about it. The heartbeat finds a
 * half-open socket within `heartbeatMs + heartbeatTimeoutMs` (1.5 s by default).
 */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #closing = new AbortController();
  readonly #hints = new PendingHints();
  #pause: Timer | undefined;
  #delivering = false;
  #running: Promise<void> | undefined;

  constructor(options: ListenerOptions) {
    this.#options = options;
  }

  /**
   * Begins, and resolves when `onListening` has been called for the first time; while the database is down that
   * takes as long as it takes.
   * Rejects with a SessionStateLostError when a pooler stands in the way (the listener is closed then), and when
   * the listener is closed before.
   */
  start(): Promise<void> {
    if (this.#running) throw new Error('the listener was started before');
    return new Promise((resolve, reject) => {
      this.#running = this.#run(resolve, reject);
    });
  }

  /** Ends it; no handler is called afterwards. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the listener was closed'));
    this.#pause?.cancel();
    await this.#running;
  }

  async #run(started: () => void, refused: (error: Error) => void): Promise<void> {
    const {
      clock,
      entropy,
      onListening,
      onLost,
      reconnect = { initialMs: 50, maxMs: 2_000 },
    } = this.#options;
    const closing = this.#closing.signal;
    let everListened = false;
    for (let failures = 1; !closing.aborted; failures++) {
      try {
        await this.#session(
          () => {
            onListening();
            everListened = true;
            started();
          },
          () => {
            failures = 1;
          },
        );
      } catch (error) {
        const reason = error instanceof Error ? error : new Error(String(error));
        if (closing.aborted) break;
        if (reason instanceof SessionStateLostError && !everListened) return refused(reason);
        onLost(reason);
      }
      // Only closing cuts the sleep short, and that ends the loop.
      await sleep(clock, backoffMs(reconnect, failures, entropy.fraction()), closing).catch(() => undefined);
    }
    refused(new Error('the listener was closed'));
  }

  /** One connection, until it is lost: always ends in an error. */
  async #session(listening: () => void, proven: () => void): Promise<never> {
    const { clock, heartbeatMs = 500, heartbeatTimeoutMs = 1_000, connectTimeoutMs = 2_000 } = this.#options;
    const session = await ListenSession.open({
      ...this.#options,
      connectTimeoutMs,
      onNotification: (channel, payload) => this.#arrived(channel, payload),
      signal: this.#closing.signal,
    });
    try {
      listening();
      for (;;) {
        await sleep(clock, heartbeatMs, session.ended);
        await session.check(heartbeatTimeoutMs);
        proven();
      }
    } finally {
      session.close();
    }
  }

  #arrived(channel: string, payload: string): void {
    this.#hints.add(channel, payload);
    if (this.#delivering || this.#pause) return;
    this.#delivering = true;
    // Not at once: all that came in the same chunk of bytes makes one call.
    queueMicrotask(() => {
      this.#delivering = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    if (this.#closing.signal.aborted || this.#hints.isEmpty) return;
    this.#pause = this.#options.clock.after(this.#options.coalesceMs ?? 5, () => {
      this.#pause = undefined;
      this.#deliver();
    });
    this.#options.onHints(this.#hints.take());
  }
}
