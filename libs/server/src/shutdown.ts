import type { Clock } from '@carillon/core/clock.ts';
import { MAX_TIMER_MS } from '@carillon/core/clock.ts';
import type { Logger } from './logger.ts';

/** The work of one phase. The signal aborts when its time is up; what it does later is ignored. */
export type ShutdownStep = (signal: AbortSignal) => Promise<void> | void;

interface Phase {
  readonly name: string;
  readonly limitMs: number;
  readonly step: ShutdownStep;
}

/**
 * An orderly end: phases run one after another in the order they were added, each within its own time.
 * A phase that fails or overruns is logged and does not keep the next ones from running.
 */
export class Shutdown {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #phases: Phase[] = [];
  readonly #requested = new AbortController();
  #run: Promise<boolean> | undefined;

  constructor(options: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** Aborts at the first {@link run}, before any phase: for loops that should begin nothing new. */
  get signal(): AbortSignal {
    return this.#requested.signal;
  }

  /** The sum of the phases' limits: what a supervisor must grant before it kills. */
  get limitMs(): number {
    return this.#phases.reduce((sum, phase) => sum + phase.limitMs, 0);
  }

  /** Appends a phase. Limits above {@link MAX_TIMER_MS}, and phases added after the start, are a RangeError. */
  phase(name: string, limitMs: number, step: ShutdownStep): this {
    if (!(limitMs > 0 && limitMs <= MAX_TIMER_MS)) {
      throw new RangeError(`shutdown phase ${name}: ${limitMs} ms is not within 1 to ${MAX_TIMER_MS}`);
    }
    if (this.#run !== undefined)
      throw new RangeError(`shutdown phase ${name} comes after the shutdown began`);
    this.#phases.push({ name, limitMs, step });
    return this;
  }

  /** Runs every phase once; later calls wait for the same run. True when all of them ended well and in time. */
  run(reason: string): Promise<boolean> {
    this.#run ??= this.#runPhases(reason);
    return this.#run;
  }

  async #runPhases(reason: string): Promise<boolean> {
    this.#logger.info({ reason, limitMs: this.limitMs }, 'shutting down');
    this.#requested.abort(new Error(`shutting down: ${reason}`));
    let clean = true;
    for (const phase of this.#phases) clean = (await this.#runPhase(phase)) && clean;
    this.#logger.info({ reason, clean }, 'shut down');
    return clean;
  }

  async #runPhase({ name, limitMs, step }: Phase): Promise<boolean> {
    const controller = new AbortController();
    const startedAt = this.#clock.monotonic();
    const { promise: overrun, resolve: overran } = Promise.withResolvers<'overrun'>();
    const timer = this.#clock.after(limitMs, () => overran('overrun'));
    try {
      const outcome = await Promise.race([invoke(step, controller.signal), overrun]);
      if (outcome === 'overrun') {
        controller.abort(new Error(`shutdown phase ${name} exceeded ${limitMs} ms`));
        this.#logger.error({ phase: name, limitMs }, 'shutdown phase ran out of time');
        return false;
      }
    } catch (error) {
      this.#logger.error({ phase: name, err: error }, 'shutdown phase failed');
      return false;
    } finally {
      timer.cancel();
    }
    this.#logger.debug(
      { phase: name, durationMs: this.#clock.monotonic() - startedAt },
      'shutdown phase done',
    );
    return true;
  }
}

async function invoke(step: ShutdownStep, signal: AbortSignal): Promise<'done'> {
  await step(signal);
  return 'done';
}
