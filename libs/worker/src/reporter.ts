import { backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, sleep } from '@carillon/core/clock.ts';
import type { WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import type { Logger } from '@carillon/server';
import { type Client, Code, ConnectError } from '@connectrpc/connect';
import { type Answer, payloadInit } from './answer.ts';
import type { HeldRun } from './held-run.ts';

/** What answering needs. */
export interface ReporterOptions {
  readonly client: Client<typeof WorkerService>;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

const BACKOFF = { initialMs: 100, maxMs: 5_000 };
const CALL_TIMEOUT_MS = 10_000;

/** After the attempt's time the service takes the run back; this is for its reaper, and for clocks. */
const PATIENCE_MS = 60_000;

/** What the service will say again, however often it is asked. */
const FINAL: ReadonlySet<Code> = new Set([
  Code.FailedPrecondition,
  Code.InvalidArgument,
  Code.NotFound,
  Code.PermissionDenied,
  Code.Unauthenticated,
  Code.Unimplemented,
  Code.OutOfRange,
]);

/** Tells the service how attempts ended. */
export class Reporter {
  readonly #options: ReporterOptions;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /**
   * Tells how an attempt ended, again and again until the service has heard it, or the lease has surely ended, or `signal`
   * aborts. An answer that nobody took is logged as an error. Never rejects.
   */
  async report(held: HeldRun, answer: Answer, logger: Logger, signal: AbortSignal): Promise<void> {
    const { clock, entropy } = this.#options;
    for (let failures = 1; ; failures++) {
      const error = await this.#tell(held, answer, signal);
      if (error === undefined) return;
      if (error.code === Code.InvalidArgument && answer.succeeded) {
        // The work is done and its output cannot be stored. Silence would look like a lost worker.
        logger.error({ err: error }, 'the output of a run was refused');
        const message = `the output was refused: ${error.rawMessage}`.slice(0, 1_024);
        const refused = {
          succeeded: false,
          code: 'OUTPUT_REFUSED',
          message,
          permanent: true,
          output: undefined,
        } as const;
        return await this.report(held, refused, logger, signal);
      }
      const late = clock.monotonic() > held.deadline + PATIENCE_MS;
      if (held.taken || FINAL.has(error.code) || late || signal.aborted) {
        logger.error({ err: error, succeeded: answer.succeeded }, 'the answer of a run was not taken');
        return;
      }
      logger.warn({ err: error }, 'the answer of a run could not be sent yet');
      // Only the end of the worker cuts the sleep short, and the next failure ends the loop then.
      await sleep(clock, backoffMs(BACKOFF, failures, entropy.fraction()), signal).catch(() => undefined);
    }
  }

  async #tell(held: HeldRun, answer: Answer, signal: AbortSignal): Promise<ConnectError | undefined> {
    const { client } = this.#options;
    const output = payloadInit(answer.output);
    const call = { signal, timeoutMs: CALL_TIMEOUT_MS };
    try {
      if (answer.succeeded) await client.completeRun({ lease: held.ref, output }, call);
      else {
        const { code, message, permanent } = answer;
        await client.failRun({ lease: held.ref, error: { code, message }, permanent, output }, call);
      }
      return undefined;
    } catch (error) {
      return ConnectError.from(error);
    }
  }
}
