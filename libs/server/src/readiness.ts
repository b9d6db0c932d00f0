import { type Clock, sleep } from '@carillon/core/clock.ts';

/** Returns or resolves when the thing it looks at works; throws an Error that says why not. */
export type ReadinessCheck = (signal: AbortSignal) => Promise<void> | void;

/** Whether work should be sent here, and if not, why. */
export interface ReadinessReport {
  readonly ready: boolean;
  readonly failing: readonly { readonly name: string; readonly reason: string }[];
}

/** A check that takes longer than this has failed: probes come every few seconds. */
const CHECK_LIMIT_MS = 2_000;

/** Readiness, apart from liveness: a process whose database is away is alive and not ready. */
export class Readiness {
  readonly #clock: Clock;
  readonly #checks: Readonly<Record<string, ReadinessCheck>>;
  readonly #draining = new AbortController();
  #running: Promise<ReadinessReport> | undefined;

  /** Checks by the name under which they are reported. */
  constructor(clock: Clock, checks: Readonly<Record<string, ReadinessCheck>>) {
    this.#clock = clock;
    this.#checks = checks;
  }

  /** Aborts at {@link drain}. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Not ready from now on, so that balancers look elsewhere before the port closes. */
  drain(): void {
    this.#draining.abort(new Error('draining'));
  }

  /** Runs every check, at once; callers that come meanwhile share the run. Never rejects. */
  evaluate(): Promise<ReadinessReport> {
    this.#running ??= this.#evaluate().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #evaluate(): Promise<ReadinessReport> {
    const outcomes = await Promise.all(
      Object.entries(this.#checks).map(async ([name, check]) => ({
        name,
        reason: await this.#reasonOf(check),
      })),
    );
    const failing = outcomes.flatMap(({ name, reason }) => (reason === undefined ? [] : [{ name, reason }]));
    if (this.#draining.signal.aborted)
      failing.unshift({ name: 'draining', reason: 'the server is shutting down' });
    return { ready: failing.length === 0, failing };
  }

  async #reasonOf(check: ReadinessCheck): Promise<string | undefined> {
    const limit = new AbortController();
    const done = new AbortController();
    try {
      const overrun = sleep(this.#clock, CHECK_LIMIT_MS, done.signal).then(() => {
        limit.abort(new Error('timed out'));
        throw new Error(`no answer within ${CHECK_LIMIT_MS} ms`);
      });
      await Promise.race([run(check, limit.signal), overrun]);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      done.abort();
    }
  }
}

async function run(check: ReadinessCheck, signal: AbortSignal): Promise<void> {
  await check(signal);
}
