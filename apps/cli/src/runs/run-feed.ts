import { backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, sleep } from '@carillon/core/clock.ts';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type Client, Code, ConnectError } from '@connectrpc/connect';

/** What to watch. */
export interface RunFeedRequest {
  readonly parent: string;
  /** Resource name. Empty: of all schedules. */
  readonly schedule: string;
  /** Resource names. Empty: all that change from now on. */
  readonly names: readonly string[];
}

/** What a feed needs. */
export interface RunFeedOptions {
  readonly client: Client<typeof RunService>;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly signal: AbortSignal;
  /** Told when the stream is lost (with the reason) and when it flows again. */
  readonly onConnection?: (
    state: { readonly up: true } | { readonly up: false; readonly error: unknown },
  ) => void;
}

/** The server sends a heartbeat every 15 s: when three are missing, the connection is dead. */
const SILENCE_LIMIT_MS = 45_000;
const BACKOFF = { initialMs: 500, maxMs: 10_000 };

/**
 * Runs as they change, across lost connections, each state at most once and never backwards. Ends when the signal aborts.
 * What is watched by name is complete; otherwise changes during a lost connection are not seen.
 * @throws ConnectError for refusals that would be repeated.
 */
export async function* watchRuns(request: RunFeedRequest, options: RunFeedOptions): AsyncGenerator<Run> {
  const { client, clock, entropy, signal, onConnection } = options;
  const versions = new VersionMemory();
  let failures = 0;
  while (!signal.aborted) {
    const silence = new Watchdog(clock, SILENCE_LIMIT_MS);
    try {
      const stream = client.watchRuns(
        { ...request, names: [...request.names] },
        { signal: AbortSignal.any([signal, silence.signal]), onHeader: () => onConnection?.({ up: true }) },
      );
      for await (const { run } of stream) {
        silence.reset();
        failures = 0;
        if (run !== undefined && versions.isNews(run)) yield run;
      }
      throw new ConnectError('the server ended the stream', Code.Unavailable);
    } catch (error) {
      if (signal.aborted) return;
      if (!silence.signal.aborted && !isPassing(error)) throw error;
      onConnection?.({ up: false, error });
      failures += 1;
    } finally {
      silence.stop();
    }
    await sleep(clock, backoffMs(BACKOFF, failures, 0.5 + entropy.fraction() / 2), signal).catch(
      () => undefined,
    );
  }
}

function isPassing(error: unknown): boolean {
  return (
    error instanceof ConnectError &&
    (error.code === Code.Unavailable ||
      error.code === Code.ResourceExhausted ||
      error.code === Code.DeadlineExceeded)
  );
}

/** Aborts its signal when {@link reset} is not called for too long. */
class Watchdog {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #controller = new AbortController();
  #timer: { cancel(): void } | undefined;

  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.reset();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  reset(): void {
    this.stop();
    this.#timer = this.#clock.after(this.#limitMs, () =>
      this.#controller.abort(new Error('no sign of life')),
    );
  }

  stop(): void {
    this.#timer?.cancel();
  }
}

/** Remembers the newest version of the runs that were seen last; the oldest are forgotten. */
class VersionMemory {
  readonly #versions = new Map<string, bigint>();

  isNews({ name, version }: Run): boolean {
    const known = this.#versions.get(name);
    if (known !== undefined && known >= version) return false;
    this.#versions.delete(name);
    this.#versions.set(name, version);
    if (this.#versions.size > 10_000) {
      const [oldest] = this.#versions.keys();
      if (oldest !== undefined) this.#versions.delete(oldest);
    }
    return true;
  }
}
