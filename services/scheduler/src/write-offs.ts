import { type Clock, sleep } from '@carillon/core/clock.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
import { LONGEST_CATCH_UP_WINDOW_MS } from '@carillon/core/schedule-spec.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import type { Engine } from './engine.ts';
import type { ChangeFeed } from './feed.ts';
import type { Lease } from './leadership.ts';
import type { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { NameScheme } from './run-request.ts';
import type { RunsTarget } from './runs-target.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import { lastDueOf, nominalTimesOf, type WriteOff } from './slot.ts';
import { type ProbedSlot, probeSlots } from './slot-probe.ts';
import { WriteOffTally } from './write-off-tally.ts';

/** What write-offs act through. */
export interface WriteOffsOptions {
  readonly engine: Engine;
  readonly ledger: Ledger;
  /** Records the slots that turn out to have fired, too. Default: they are not recorded, for their runs say it. */
  readonly firedLedger?: Pick<Ledger, 'add'> | undefined;
  readonly target: RunsTarget;
  readonly store: Pick<SchedulerStore, 'lastLook'>;
  readonly nameScheme: NameScheme;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
  readonly feed: Pick<ChangeFeed, 'currentAsOfMs' | 'poll'>;
  /** Slots up to this nominal time, in milliseconds, may have been sent by an earlier leader; -Infinity: there was none. */
  readonly sentBeforeMs: number;
  /** What an earlier leader sent is created no later than this. */
  readonly earlierNotAfterMs: number;
  /** What this leader sends is created no later than its present expiry. */
  readonly lease: Pick<Lease, 'expireMs'>;
  readonly probeTimeoutMs: number;
  /** Whether the target refuses what arrives after `not_after`. If it does not, the end of the catch-up window and the longest deadline stand in for it. */
  readonly targetKnowsNotAfter: boolean;
}

/** A write-off that is not settled yet. */
interface Waiting {
  readonly writeOff: WriteOff;
  /** When it was decided, by the monotonic clock. */
  readonly addedAtMs: number;
  /** Until when what was sent as slots of another span may be created; undefined: not known yet. */
  sentBeforeNotAfterMs: number | undefined;
}

const PROBES_PER_CALL = 500;
/** Slots that are counted at one go: less than a millisecond's work. */
const COUNTED_PER_TURN = 2_000;
const RETRY_MS = 1_000;
/** Of a call, whatever it is configured to be here or was elsewhere. */
const LONGEST_DEADLINE_MS = 60_000;
/** How often it is looked whether the ledger has been written. */
const FULL_MS = 100;

/**
 * Settles slots without a run. A slot that may have been sent is settled so only when the `not_after` of what was sent has passed and
 * a probe finds no run; if it finds one, the slot has fired.
 */
export class WriteOffs {
  readonly #o: WriteOffsOptions;
  readonly #doorbell: Doorbell;
  /** In the order in which they are looked at. */
  readonly #waiting = new Set<Waiting>();
  /** How many single slots are settled together at most: fewer after a failure, for one of them may be the cause. */
  #most = PROBES_PER_CALL;

  constructor(options: WriteOffsOptions) {
    this.#o = options;
    this.#doorbell = new Doorbell(options.clock);
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(writeOff: WriteOff): void {
    this.#waiting.add({ writeOff, addedAtMs: this.#o.clock.monotonic(), sentBeforeNotAfterMs: undefined });
    this.#doorbell.ring();
  }

  /** Works on them until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let ready: readonly Waiting[] = [];
      try {
        ready = this.#o.ledger.isFull ? [] : this.#ready();
        if (this.#o.ledger.isFull) await sleep(this.#o.clock, FULL_MS, signal);
        else if (ready.length === 0) await this.#doorbell.wait(RETRY_MS, signal);
        // A verdict counts only if nothing was changed meanwhile that speaks against it.
        else if (ready.some(({ addedAtMs }) => addedAtMs > this.#o.feed.currentAsOfMs))
          await this.#o.feed.poll();
        else {
          await this.#settle(
            ready.map(({ writeOff }) => writeOff),
            signal,
          );
          for (const waiting of ready) this.#waiting.delete(waiting);
          this.#most = Math.min(PROBES_PER_CALL, this.#most * 2);
        }
      } catch (error) {
        if (signal.aborted) return;
        for (const waiting of ready) {
          // Behind the others: one that always fails must not keep them waiting.
          this.#waiting.delete(waiting);
          this.#waiting.add(waiting);
        }
        // Nor may it take others down with it.
        if (ready.length > 1) this.#most = Math.ceil(ready.length / 2);
        this.#o.metrics.catchUpErrors.inc();
        this.#o.logger.warn(
          { err: error, waiting: this.#waiting.size },
          'settling without a run failed; trying again',
        );
        await sleep(this.#o.clock, RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  /** The next one that need not wait any longer; if it is a single slot, together with others that are. */
  #ready(): Waiting[] {
    const { engine, databaseClock } = this.#o;
    const nowMs = databaseClock.now();
    const ready: Waiting[] = [];
    for (const waiting of this.#waiting) {
      const { writeOff } = waiting;
      if (!engine.isOutstanding(writeOff)) this.#waiting.delete(waiting);
      else if (this.#readyAtMs(waiting) >= nowMs) continue;
      else if (writeOff.nominalSec === writeOff.lastNominalSec) {
        if (ready.push(waiting) === this.#most) break;
      } else if (ready.length === 0) return [waiting];
    }
    return ready;
  }

  /** When what may have been sent can no longer be created. */
  #readyAtMs(waiting: Waiting): number {
    const { writeOff } = waiting;
    const earlier = writeOff.nominalSec * 1000 <= this.#o.sentBeforeMs ? this.#o.earlierNotAfterMs : 0;
    const notAfterMs = Math.max(earlier, writeOff.notAfterMs, this.#sentBeforeNotAfterMs(waiting));
    if (notAfterMs === 0 || this.#o.targetKnowsNotAfter) return notAfterMs;
    const windowMs = writeOff.timing?.catchUpWindowMs ?? LONGEST_CATCH_UP_WINDOW_MS;
    return Math.max(notAfterMs, lastDueOf(writeOff) + windowMs + LONGEST_DEADLINE_MS);
  }

  /** The same for what this leader itself sent as slots of a span that has given way: Infinity while it may still send them. */
  #sentBeforeNotAfterMs(waiting: Waiting): number {
    const { schedule, nominalSec, lastNominalSec, sentThroughMs } = waiting.writeOff;
    if (sentThroughMs < nominalSec * 1000) return 0;
    const { engine, lease } = this.#o;
    if (waiting.sentBeforeNotAfterMs === undefined) {
      if (engine.hasSlotsWithin(schedule, nominalSec, lastNominalSec)) return Number.POSITIVE_INFINITY;
      waiting.sentBeforeNotAfterMs = lease.expireMs;
    }
    return waiting.sentBeforeNotAfterMs;
  }

  /** Settles write-offs together: what may have been sent is probed for in as few calls as that takes. */
  async #settle(writeOffs: readonly WriteOff[], signal: AbortSignal): Promise<void> {
    const { clock, engine, ledger, firedLedger, metrics, logger } = this.#o;
    const tallies = writeOffs.map((writeOff) => new WriteOffTally(writeOff));
    let maybeSent: { readonly tally: WriteOffTally; readonly slot: ProbedSlot }[] = [];
    const probe = async (): Promise<void> => {
      const asked = maybeSent;
      maybeSent = [];
      const runs = await probeSlots(
        this.#o,
        asked.map(({ slot }) => slot),
      );
      asked.forEach(({ tally, slot }, index) => {
        tally.take(slot.nominalSec, runs[index]);
      });
    };
    let turn = 0;
    for (const tally of tallies) {
      const { writeOff } = tally;
      for (const nominalSec of nominalTimesOf(writeOff)) {
        if (this.#maySent(writeOff, nominalSec)) {
          maybeSent.push({ tally, slot: { id: writeOff.id, revision: writeOff.revision, nominalSec } });
          if (maybeSent.length === PROBES_PER_CALL) await probe();
        } else tally.take(nominalSec, undefined);
        if (++turn % COUNTED_PER_TURN === 0) await sleep(clock, 0, signal);
      }
    }
    await probe();
    for (const tally of tallies) {
      const { writeOff } = tally;
      // Withdrawn meanwhile, because its schedule was changed.
      if (!engine.isOutstanding(writeOff)) continue;
      for (const row of tally.unfired) ledger.add(row);
      for (const row of tally.fired) firedLedger?.add(row);
      tally.count(metrics);
      logger.warn(tally.words, 'slots settled without a run');
      engine.settle(writeOff);
    }
  }

  /** Whether the slot may have been sent: by this leader or by an earlier one. */
  #maySent({ notAfterMs, sentThroughMs }: WriteOff, nominalSec: number): boolean {
    return notAfterMs > 0 || nominalSec * 1000 <= Math.max(this.#o.sentBeforeMs, sentThroughMs);
  }
}
