import { type Clock, sleep } from '@carillon/core/clock.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
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
import { nominalTimesOf, OVERLAPPED, type WriteOff } from './slot.ts';
import { probeSlots } from './slot-probe.ts';

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

/**
 * Settles slots without a run. A slot that may have been sent is settled so only when the `not_after` of what was sent has passed and
 * a probe finds no run; if it finds one, the slot has fired.
 */
export class WriteOffs {
  readonly #o: WriteOffsOptions;
  readonly #doorbell: Doorbell;
  /** In the order in which they are looked at. */
  readonly #waiting = new Set<Waiting>();

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

  /** Works on them one after another until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let next: Waiting | undefined;
      try {
        next = this.#next();
        if (!next) await this.#doorbell.wait(RETRY_MS, signal);
        // A verdict counts only if nothing was changed meanwhile that speaks against it.
        else if (next.addedAtMs > this.#o.feed.currentAsOfMs) await this.#o.feed.poll();
        else {
          await this.#settle(next.writeOff, signal);
          this.#waiting.delete(next);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (next) {
          // Behind the others: one that always fails must not keep them waiting.
          this.#waiting.delete(next);
          this.#waiting.add(next);
        }
        this.#o.metrics.catchUpErrors.inc();
        this.#o.logger.warn(
          { err: error, waiting: this.#waiting.size },
          'settling without a run failed; trying again',
        );
        await sleep(this.#o.clock, RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  /** The next one that need not wait any longer. */
  #next(): Waiting | undefined {
    const { engine, databaseClock } = this.#o;
    const nowMs = databaseClock.now();
    for (const waiting of this.#waiting) {
      if (!engine.isOutstanding(waiting.writeOff)) this.#waiting.delete(waiting);
      else if (this.#readyAtMs(waiting) < nowMs) return waiting;
    }
    return undefined;
  }

  /** When what may have been sent can no longer be created. */
  #readyAtMs(waiting: Waiting): number {
    const { writeOff } = waiting;
    const earlier = writeOff.nominalSec * 1000 <= this.#o.sentBeforeMs ? this.#o.earlierNotAfterMs : 0;
    return Math.max(earlier, writeOff.notAfterMs, this.#sentBeforeNotAfterMs(waiting));
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

  async #settle(writeOff: WriteOff, signal: AbortSignal): Promise<void> {
    const { clock, engine, ledger, firedLedger, metrics, logger } = this.#o;
    const sentBeforeMs = Math.max(this.#o.sentBeforeMs, writeOff.sentThroughMs);
    let first: number | undefined;
    let last = writeOff.nominalSec;
    let count = 0;
    const fired: LedgerRow[] = [];
    const overlapped: LedgerRow[] = [];
    let maybeSent: number[] = [];
    const without = (nominalSec: number): void => {
      first ??= nominalSec;
      last = nominalSec;
      count++;
    };
    const probe = async (): Promise<void> => {
      const runs = await probeSlots(this.#o, writeOff, maybeSent);
      maybeSent.forEach((nominalSec, index) => {
        const run = runs[index];
        if (run === undefined) {
          without(nominalSec);
          return;
        }
        const row = foundRow(writeOff, nominalSec, run.runId);
        if (run.skipped) {
          overlapped.push({ ...row, ...OVERLAPPED });
          return;
        }
        fired.push(row);
      });
      maybeSent = [];
    };
    let turn = 0;
    for (const nominalSec of nominalTimesOf(writeOff)) {
      if (writeOff.notAfterMs > 0 || nominalSec * 1000 <= sentBeforeMs) {
        maybeSent.push(nominalSec);
        if (maybeSent.length === PROBES_PER_CALL) await probe();
      } else {
        if (maybeSent.length > 0) await probe();
        without(nominalSec);
      }
      if (++turn % COUNTED_PER_TURN === 0) await sleep(clock, 0, signal);
    }
    if (maybeSent.length > 0) await probe();
    // Withdrawn meanwhile, because its schedule was changed.
    if (!engine.isOutstanding(writeOff)) return;
    const { outcome, reason, message } = writeOff.verdict;
    const row: LedgerRow | undefined =
      first === undefined
        ? undefined
        : {
            schedule: writeOff.id,
            revision: writeOff.revision,
            nominalMs: first * 1000,
            lastNominalMs: last * 1000,
            slots: count,
            outcome,
            reason,
            message,
            runId: '',
            fireMs: undefined,
            latenessMs: undefined,
          };
    for (const each of [...(row ? [row] : []), ...overlapped]) ledger.add(each);
    for (const each of fired) firedLedger?.add(each);
    metrics.writtenOff.inc({ outcome, reason }, count);
    metrics.writtenOff.inc({ outcome: OVERLAPPED.outcome, reason: OVERLAPPED.reason }, overlapped.length);
    metrics.successfulFires.inc({ class: 'missed' }, fired.length);
    logger.warn(
      {
        scheduleId: writeOff.id,
        revision: writeOff.revision,
        from: new Date((first ?? writeOff.nominalSec) * 1000).toISOString(),
        to: new Date(last * 1000).toISOString(),
        slots: count,
        fired: fired.length,
        overlapped: overlapped.length,
        outcome,
        reason,
      },
      'slots settled without a run',
    );
    engine.settle(writeOff);
  }
}

/** The ledger row of a slot whose run was found by a probe: when it was sent, its run tells. */
function foundRow({ id, revision }: WriteOff, nominalSec: number, runId: string): LedgerRow {
  return {
    schedule: id,
    revision,
    nominalMs: nominalSec * 1000,
    lastNominalMs: nominalSec * 1000,
    slots: 1,
    outcome: 'FIRED',
    reason: 'EXISTED',
    message: '',
    runId,
    fireMs: undefined,
    latenessMs: undefined,
  };
}
