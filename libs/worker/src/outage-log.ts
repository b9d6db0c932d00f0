import type { Logger } from '@carillon/server';
import { Code, ConnectError } from '@connectrpc/connect';

/**
 * Tells of calls that fail. That the service is out of reach is one line without a stack, and its return another; what else
 * goes wrong is told each time, and in full.
 */
export class OutageLog {
  readonly #logger: Logger;
  #failures = 0;
  #silent = false;

  /** @param logger for its lines. */
  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** How many calls have failed in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** A call has failed. */
  failed(error: unknown): void {
    this.#failures++;
    if (!(error instanceof ConnectError && error.code === Code.Unavailable)) {
      this.#logger.warn({ err: error, failures: this.#failures }, 'no runs can be leased now; trying again');
    } else if (!this.#silent) {
      this.#silent = true;
      this.#logger.warn(
        { cause: error.rawMessage },
        'the runs service is out of reach; trying until it is back',
      );
    }
  }

  /** The service has answered. */
  reached(): void {
    if (this.#silent) this.#logger.info({ failures: this.#failures }, 'the runs service is in reach');
    this.#silent = false;
  }

  /** All went well: the next failure is the first again. */
  succeeded(): void {
    this.#failures = 0;
  }
}
