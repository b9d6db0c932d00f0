import { type Clock, sleep } from '@carillon/core/clock.ts';
import type { EndedPause, EndedPausePlace } from '@carillon/db/tables/ended-pauses.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import type { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { SettledSlotsStore } from './settled-slots-store.ts';
import type { TimingCache } from './timing-cache.ts';

/** What pauses are recorded through. */
export interface EndedPausesOptions {
  readonly settledSlots: Pick<SettledSlotsStore, 'readEndedPauses'>;
  readonly timings: TimingCache;
  readonly ledger: Pick<Ledger, 'add' | 'isFull'>;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
}

const PAUSES_PER_READ = 500;
/** Slots that are counted at one go: less than a millisecond's work. */
const COUNTED_PER_TURN = 2_000;
/** How often it is looked whether the ledger has been written. */
const FULL_MS = 100;
/** A transaction may commit this long after the instant that it ended a pause at. */
const LATE_COMMIT_MS = 300_000;

/**
 * Records the slots of pauses that have ended: one ledger row per paused span, with their count. They were never sent, so nothing is probed, and
 * no watermark waits for them: the spans say the same, and each leader finds again what has no row yet. Twice is harmless, because the row's
 * key is the first of the slots.
 */
export class EndedPauses {
  readonly #o: EndedPausesOptions;
  /** Pauses that ended up to here were read, by the database's clock. */
  #readThroughMs: number | undefined;
  /** When those ended that were counted lately; their rows may not be written yet. */
  readonly #counted = new Map<string, number>();
  #recording: Promise<void> | undefined;

  constructor(options: EndedPausesOptions) {
    this.#o = options;
  }

  /** Records what has ended since the last call. A call during another one waits for that one. */
  async record(signal: AbortSignal): Promise<void> {
    this.#recording ??= this.#record(signal).finally(() => {
      this.#recording = undefined;
    });
    await this.#recording;
  }

  async #record(signal: AbortSignal): Promise<void> {
    const { settledSlots, databaseClock } = this.#o;
    const nowMs = databaseClock.now();
    let after: EndedPausePlace | undefined;
    if (this.#readThroughMs !== undefined)
      after = { toMs: this.#readThroughMs - LATE_COMMIT_MS, schedule: 0, span: 0 };
    for (;;) {
      const pauses = await settledSlots.readEndedPauses(after, PAUSES_PER_READ);
      for (const pause of pauses) {
        const key = `${pause.schedule}/${pause.span}`;
        while (this.#o.ledger.isFull) await sleep(this.#o.clock, FULL_MS, signal);
        if (!this.#counted.has(key)) await this.#count(pause, signal);
        this.#counted.set(key, pause.toMs);
      }
      after = pauses.at(-1);
      if (pauses.length < PAUSES_PER_READ) break;
    }
    this.#readThroughMs = nowMs;
    for (const [key, toMs] of this.#counted) if (toMs < nowMs - LATE_COMMIT_MS) this.#counted.delete(key);
  }

  async #count(pause: EndedPause, signal: AbortSignal): Promise<void> {
    const { timings, ledger, clock, metrics, logger } = this.#o;
    const { schedule, revision, actor, reason } = pause;
    const identity = `${pause.project}/${pause.domain}/${pause.scheduleId}`;
    const told = new Set(pause.toldMs);
    let first: number | undefined;
    let last = 0;
    let count = 0;
    try {
      const { recurrence } = timings.get(pause.timing, identity, pause.anchorMs);
      for (const nominalSec of recurrence.between(pause.fromMs / 1000, pause.toMs / 1000)) {
        if (told.has(nominalSec * 1000)) continue;
        first ??= nominalSec;
        last = nominalSec;
        if (++count % COUNTED_PER_TURN === 0) await sleep(clock, 0, signal);
      }
    } catch (error) {
      if (signal.aborted) throw error;
      metrics.catchUpErrors.inc();
      logger.error(
        { err: error, scheduleId: schedule, revision },
        'the slots of a pause cannot be counted; its span says that they were skipped',
      );
      return;
    }
    if (first === undefined) return;
    ledger.add({
      schedule,
      revision,
      nominalMs: first * 1000,
      lastNominalMs: last * 1000,
      slots: count,
      outcome: 'SKIPPED',
      reason: 'PAUSED',
      message: `the schedule was paused by ${actor}${reason === '' ? '' : `: ${reason}`}`,
      runId: '',
      fireMs: undefined,
      latenessMs: undefined,
    });
    metrics.writtenOff.inc({ outcome: 'SKIPPED', reason: 'PAUSED' }, count);
    logger.info(
      {
        scheduleId: schedule,
        revision,
        from: new Date(first * 1000).toISOString(),
        to: new Date(last * 1000).toISOString(),
        slots: count,
      },
      'slots of a pause that has ended are recorded',
    );
  }
}
