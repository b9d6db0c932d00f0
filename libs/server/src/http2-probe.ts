import * as http2 from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';

/** Used when the call has no deadline, in milliseconds. */
const DEFAULT_LIMIT_MS = 10_000;

/**
 * Asks a peer once whether it speaks HTTP/2. connect-node 2.2 raises an uncaught exception when it does not, because
 * the session reports its error after the client has stopped listening; a process must not die of a wrong address.
 */
export class Http2Probe {
  readonly #authority: string;
  readonly #options: http2.SecureClientSessionOptions;
  #answer: Promise<void> | undefined;

  constructor(baseUrl: string, options: http2.SecureClientSessionOptions) {
    this.#authority = new URL(baseUrl).origin;
    this.#options = options;
  }

  /** Resolves when the peer has sent its HTTP/2 settings, now or at an earlier call; rejects with UNAVAILABLE. */
  async check(signal: AbortSignal | undefined, limitMs = DEFAULT_LIMIT_MS): Promise<void> {
    signal?.throwIfAborted();
    this.#answer ??= this.#ask(limitMs).catch((error: unknown) => {
      this.#answer = undefined;
      throw error;
    });
    if (signal === undefined) return this.#answer;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([this.#answer, aborted]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Asks again before the next call: after a failure the address may belong to somebody else. */
  forget(): void {
    this.#answer = undefined;
  }

  #ask(limitMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const session = http2.connect(this.#authority, { ...this.#options, timeout: limitMs });
      const fail = (message: string, cause?: unknown): void => {
        reject(new ConnectError(message, Code.Unavailable, undefined, undefined, cause));
        session.destroy();
      };
      // Kept to the end: destroying a session can raise a last error.
      session.on('error', (error) =>
        fail(`${this.#authority} does not answer in HTTP/2: ${error.message}`, error),
      );
      session.once('close', () => fail(`${this.#authority} closed the connection before HTTP/2 began`));
      session.setTimeout(limitMs, () =>
        fail(`${this.#authority} did not answer in HTTP/2 within ${limitMs} ms`),
      );
      session.once('remoteSettings', () => {
        resolve();
        session.close();
      });
    });
  }
}
