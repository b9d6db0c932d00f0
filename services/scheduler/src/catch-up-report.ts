import type { Clock } from '@carillon/core/clock.ts';
import type { Logger } from '@carillon/server';
import type { Engine } from './engine.ts';

/** Says in the log how far catching up has come, and when it will be done at the present rate. */
export class CatchUpReport {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #slots = 0;
  #atMs = 0;

  constructor(options: { readonly engine: Engine; readonly clock: Clock; readonly logger: Logger }) {
    this.#engine = options.engine;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** To be called every few seconds. Silent while there is nothing to catch up. */
  report(): void {
    const slots = this.#engine.backlogSize();
    const nowMs = this.#clock.monotonic();
    if (slots > 0) {
      const perSecond = this.#slots > 0 ? ((this.#slots - slots) * 1000) / (nowMs - this.#atMs) : 0;
      const doneInSeconds = perSecond > 0 ? Math.round(slots / perSecond) : undefined;
      this.#logger.info({ slots, perSecond: Math.round(perSecond * 10) / 10, doneInSeconds }, 'catching up');
    } else if (this.#slots > 0) this.#logger.info('caught up');
    this.#slots = slots;
    this.#atMs = nowMs;
  }
}
