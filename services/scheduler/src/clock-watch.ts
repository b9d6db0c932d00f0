import type { Clock } from '@carillon/core/clock.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import type { SchedulerMetrics } from './metrics.ts';

/** What is watched, and who is told. */
export interface ClockWatchOptions {
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
  /** How often {@link ClockWatch.check} is called. */
  readonly beatMs: number;
  /** The clocks have parted, or time has passed unseen: what rests on elapsed time is to be looked at anew. */
  readonly onDoubt: (reason: string) => void;
}

/** The wall clock may part from the monotonic one by this much between two looks before it counts as a step. */
const STEP_MS = 500;
/** A wall clock that differs from the database's by more than this is warned of. */
const MAX_ERROR_MS = 1_000;
/** How often the same warning is given. */
const WARN_EVERY_MS = 60_000;

/**
 * Notices steps of the wall clock, suspensions of the machine (in which Linux stops the monotonic clock but not the wall clock), and
 * stalls of the event loop. Nothing is judged by the wall clock, so a step alone does no harm; after a suspension the lease may be
 * another's.
 */
export class ClockWatch {
  readonly #o: ClockWatchOptions;
  #wallMs: number;
  #monotonicMs: number;
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ClockWatchOptions) {
    this.#o = options;
    this.#wallMs = options.clock.now();
    this.#monotonicMs = options.clock.monotonic();
  }

  /** To be called every `beatMs`. */
  check(): void {
    const { clock, databaseClock, metrics, logger, beatMs, onDoubt } = this.#o;
    const wallMs = clock.now();
    const monotonicMs = clock.monotonic();
    const elapsedMs = monotonicMs - this.#monotonicMs;
    const stepMs = wallMs - this.#wallMs - elapsedMs;
    this.#wallMs = wallMs;
    this.#monotonicMs = monotonicMs;
    if (Math.abs(stepMs) > STEP_MS) {
      metrics.clockSteps.inc({ direction: stepMs > 0 ? 'forward' : 'back' });
      logger.warn({ stepMs }, 'the wall clock was set, or the machine was suspended');
      onDoubt('the wall clock was set, or the machine was suspended');
    }
    if (elapsedMs > beatMs + STEP_MS) {
      metrics.stalls.inc();
      logger.warn({ stalledMs: elapsedMs - beatMs }, 'the process stood still');
      onDoubt('the process stood still');
    }
    const aheadMs = databaseClock.wallClockAheadMs;
    if (
      Number.isFinite(aheadMs) &&
      Math.abs(aheadMs) > MAX_ERROR_MS &&
      monotonicMs - this.#warnedAtMs > WARN_EVERY_MS
    ) {
      this.#warnedAtMs = monotonicMs;
      metrics.clockErrors.inc();
      logger.warn(
        { aheadMs },
        "this machine's wall clock differs from the database's, which is the one that counts",
      );
    }
  }
}
