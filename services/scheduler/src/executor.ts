import { backoffMs } from '@carillon/core/backoff.ts';
import type { Clock, Entropy } from '@carillon/core/clock.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
import type { TokenBucket } from '@carillon/core/token-bucket.ts';
import type { LastLook } from '@carillon/db/tables/last-look.ts';
import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import type { Logger } from '@carillon/server';
import { type Answer, type FiredAnswer, maybeTooLarge, refusedAnswer } from './answer.ts';
import { type Breaker, BreakerOpenError } from './breaker.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Engine } from './engine.ts';
import type { Lease } from './leadership.ts';
import type { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { Quarantines } from './quarantines.ts';
import type { Redrives } from './redrives.ts';
import { createRunRequest, type NameScheme } from './run-request.ts';
import { CallFailedError, type RunsTarget, type Sent } from './runs-target.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import { OVERLAPPED, type Slot, type Verdict, writeOffOf } from './slot.ts';
import { type ExecutorLimits, SlotChoice } from './slot-choice.ts';
import { stopVerdict } from './verdicts.ts';

/** What the executor acts through. */
export interface ExecutorOptions {
  readonly engine: Engine;
  readonly lease: Lease;
  readonly target: RunsTarget;
  readonly bucket: TokenBucket;
  readonly breaker: Breaker;
  readonly store: Pick<SchedulerStore, 'lastLook'>;
  /** Dead slots to send again. Default: none. */
  readonly redrives?:
    | Pick<Redrives, 'readySize' | 'take' | 'holds' | 'yields' | 'fired' | 'dead' | 'overlapped'>
    | undefined;
  /** Records the slots that their overlap policies skipped. */
  readonly ledger: Pick<Ledger, 'add'>;
  /** Records the slots that fired, too. Default: they are not recorded, for their runs say it. */
  readonly firedLedger?: Pick<Ledger, 'add'> | undefined;
  /** Told of schedules for whose slots nobody can read what is to be run. */
  readonly quarantines: Pick<Quarantines, 'add' | 'lift'>;
  /** Told at each turn, after slots were taken or settled: another one may be due next. Default: nobody is. */
  readonly onTurn?: (() => void) | undefined;
  readonly nameScheme: NameScheme;
  readonly limits: ExecutorLimits;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly entropy: Entropy;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
}

const RETRY = { initialMs: 200, maxMs: 30_000 };
/** A pause after which things are looked at again although nothing rang. */
const IDLE_MS = 1_000;
/** How many looks are under way at most: those that wait go together. */
const MAX_LOOKS = 2;

/** A slot with what the last look found. */
interface Looked {
  readonly slot: Slot;
  readonly look: LastLook;
}

/**
 * Sends slots to the runs service: waits for a free call, then for tokens, then chooses what goes, looks at it a last time, and sends it
 * together. What is not settled by the answer is sent again, for as long as its catch-up window lasts.
 */
export class Executor {
  readonly #o: ExecutorOptions;
  readonly #doorbell: Doorbell;
  readonly #choice: SlotChoice;
  #calls = 0;
  #looks = 0;

  constructor(options: ExecutorOptions) {
    this.#o = options;
    this.#doorbell = new Doorbell(options.clock);
    this.#choice = new SlotChoice({
      ...options,
      onExpired: (slot) =>
        this.#giveUp(slot, {
          outcome: 'DEAD',
          reason: 'WINDOW_EXPIRED',
          message: `not created within its catch-up window, in ${slot.attempts} attempts`,
        }),
    });
  }

  get callsInFlight(): number {
    return this.#calls;
  }

  get retrySize(): number {
    return this.#choice.retrySize;
  }

  /** Something may have become ready. */
  wake(): void {
    this.#doorbell.ring();
  }

  /** The breaker has closed: the rate comes back gradually. */
  rampUp(): void {
    this.#choice.rampUp();
    this.wake();
  }

  /** Sends what is ready until the signal aborts; calls in flight go on. */
  async run(signal: AbortSignal): Promise<void> {
    const { bucket, metrics, logger } = this.#o;
    while (!signal.aborted) {
      this.#o.onTurn?.();
      try {
        if (!this.#mayDispatch()) {
          await this.#doorbell.wait(this.#idleMs(), signal);
          continue;
        }
        await bucket.wait(1, signal);
        const batch = this.#choice.choose(this.#calls);
        if (batch.length === 0) {
          bucket.refund(1);
          // Only missed slots over their limit, or retries that are not due, are left.
          await this.#doorbell.wait(this.#idleMs(), signal);
          continue;
        }
        void this.#dispatch(batch);
      } catch (error) {
        if (signal.aborted) return;
        metrics.jobPanics.inc();
        logger.error({ err: error }, 'the dispatcher failed; going on');
        await this.#doorbell.wait(IDLE_MS, signal).catch(() => undefined);
      }
    }
  }

  /** Resolves when no call is in flight, or the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    while (this.#calls > 0 && !signal.aborted) {
      await this.#doorbell.wait(IDLE_MS, signal).catch(() => undefined);
    }
  }

  #mayDispatch(): boolean {
    const { lease, breaker, limits } = this.#o;
    if (this.#calls >= limits.maxCalls || this.#looks >= MAX_LOOKS) return false;
    if (!lease.trusted || breaker.state === 'open') return false;
    // A half-open breaker admits one call.
    if (breaker.state === 'half-open' && this.#calls > 0) return false;
    return this.#choice.isAny(this.#calls);
  }

  #idleMs(): number {
    return Math.min(IDLE_MS, Math.max(1, this.#choice.nextRetryMs - this.#o.clock.monotonic()));
  }

  #isUnsettled(slot: Slot): boolean {
    const { engine, redrives } = this.#o;
    return slot.redrive === undefined ? engine.isOutstanding(slot) : (redrives?.holds(slot) ?? false);
  }

  /** Looks at slots, all at once, and sends those that are to be sent in as many calls as that takes. */
  async #dispatch(slots: readonly Slot[]): Promise<void> {
    const { maxBatch } = this.#o.limits;
    // Until it is known how many are to be sent, all of them are.
    const reserved = Math.ceil(slots.length / maxBatch);
    this.#calls += reserved;
    this.#looks++;
    let looked: readonly Looked[] = [];
    await this.#guarded(slots, async () => {
      looked = await this.#look(slots);
    });
    this.#looks--;
    this.#calls -= reserved;
    for (let from = 0; from < looked.length; from += maxBatch) {
      void this.#call(looked.slice(from, from + maxBatch));
    }
    this.wake();
  }

  async #call(looked: readonly Looked[]): Promise<void> {
    this.#calls++;
    await this.#guarded(
      looked.map(({ slot }) => slot),
      () => this.#send(looked),
    );
    this.#calls--;
    this.wake();
  }

  /** Does something with slots. What nobody foresaw must not lose them. */
  async #guarded(slots: readonly Slot[], work: () => Promise<void>): Promise<void> {
    const { metrics, logger } = this.#o;
    try {
      await work();
    } catch (error) {
      metrics.jobPanics.inc();
      logger.error({ err: error, slots: slots.length }, 'a dispatch failed; its slots are sent again');
      for (const slot of slots) if (this.#isUnsettled(slot)) this.#retry(slot, 'INTERNAL');
    }
  }

  /** The last look: decides anew what changed since the slots were planned. */
  async #look(batch: readonly Slot[]): Promise<Looked[]> {
    const { engine, store, clock, databaseClock, metrics, logger } = this.#o;
    const spans = batch.map((slot) => slot.spans);
    const askedAtMs = clock.monotonic();
    let looks: (LastLook | undefined)[];
    try {
      looks = await store.lastLook(
        batch.map((slot) => ({
          schedule: slot.id,
          revision: slot.revision,
          nominalMs: slot.nominalSec * 1000,
          stopsFromMs: slot.redrive?.requestMs,
        })),
      );
    } catch (error) {
      metrics.failedLooks.inc();
      logger.warn({ err: error, slots: batch.length }, 'the last look failed; its slots wait');
      for (const slot of batch) this.#retry(slot, 'LAST_LOOK');
      return [];
    }
    const readingMs = looks.find((look) => look !== undefined)?.databaseNowMs;
    if (readingMs !== undefined) databaseClock.read(readingMs, askedAtMs);
    const looked: Looked[] = [];
    batch.forEach((slot, index) => {
      const look = looks[index];
      if (look && look.stop === null && look.revision === slot.revision) {
        if (slot.dueMs <= look.databaseNowMs) looked.push({ slot, look });
        else this.#choice.postpone(slot);
        return;
      }
      metrics.decidedAnew.inc();
      if (!look)
        this.#giveUp(slot, { outcome: 'DEAD', reason: 'NOT_FOUND', message: 'its schedule is gone' });
      else if (slot.redrive !== undefined) this.#giveUp(slot, redriveVerdict(look));
      // The feed was ahead of the look.
      else if (look.revision !== slot.revision && slot.spans !== spans[index]) this.#retry(slot, 'LAST_LOOK');
      // Another span holds that time now, and its slots are planned as soon as the feed has it: this was none, whatever came later.
      else if (look.revision !== slot.revision) engine.settle(slot);
      else if (look.stop !== null) this.#giveUp(slot, stopVerdict(look.stop));
    });
    return looked;
  }

  async #send(found: readonly Looked[]): Promise<void> {
    const { lease, target, breaker, databaseClock, limits, metrics, nameScheme } = this.#o;
    // Trust is looked at last: the query may have taken long.
    if (!lease.trusted) {
      for (const { slot } of found) this.#retry(slot, 'NO_LEASE');
      return;
    }
    const nowMs = databaseClock.now();
    const looked: Looked[] = [];
    const before: Pick<Slot, 'firedAtMs' | 'notAfterMs'>[] = [];
    const requests: CreateRunRequest[] = [];
    for (const each of found) {
      const { slot, look } = each;
      const { firedAtMs, notAfterMs } = slot;
      if (slot.firedAtMs === 0) slot.firedAtMs = nowMs;
      slot.notAfterMs = Math.max(slot.notAfterMs, lease.expireMs);
      try {
        requests.push(createRunRequest(slot, look, nameScheme));
        looked.push(each);
        before.push({ firedAtMs, notAfterMs });
      } catch (error) {
        Object.assign(slot, { firedAtMs, notAfterMs });
        this.#unreadable(each, error);
      }
    }
    if (looked.length === 0) return;
    let sent: Sent[];
    try {
      sent = await breaker.call(() => target.create(requests, limits.callTimeoutMs));
    } catch (error) {
      if (error instanceof BreakerOpenError) {
        looked.forEach(({ slot }, index) => {
          // Nothing was sent, so it counts as no attempt.
          Object.assign(slot, before[index]);
          this.#retry(slot, 'BREAKER_OPEN');
        });
        return;
      }
      this.#callFailed(looked, error);
      return;
    }
    metrics.batchSize.observe(looked.length);
    looked.forEach(({ slot, look }, index) => {
      slot.attempts++;
      slot.batchLimit = Number.POSITIVE_INFINITY;
      const result = sent[index]!;
      const answer =
        'answer' in result
          ? result.answer
          : refusedAnswer(result.refused, {
              scheduleUid: look.uid,
              nominalMs: slot.nominalSec * 1000,
              acceptsForeign: nameScheme === 'flyte',
            });
      this.#answered(slot, look, answer, requests[index]!.runId);
    });
  }

  /** What is to be run cannot be read: the schedule goes into quarantine, and the slot is tried now and then, alone. */
  #unreadable({ slot, look }: Looked, error: unknown): void {
    const { engine, metrics, logger, quarantines } = this.#o;
    slot.attempts++;
    slot.batchLimit = 1;
    metrics.scheduleFailures.inc();
    logger.error({ err: error, ...idsOf({ slot, look }) }, 'quarantined: what is to be run cannot be read');
    if (slot.redrive === undefined) {
      engine.suspend(slot.schedule);
      const message = error instanceof Error ? error.message : String(error);
      quarantines.add({
        schedule: slot.id,
        generation: engine.schedules.generation[slot.schedule]!,
        reason: `revision ${slot.revision}: what is to be run cannot be read: ${message}`,
        throughSpan: undefined,
      });
    }
    this.#retry(slot, 'UNREADABLE');
  }

  #callFailed(looked: readonly Looked[], error: unknown): void {
    const { metrics, logger } = this.#o;
    const refused = error instanceof CallFailedError ? error.refused : undefined;
    metrics.failedFires.inc(looked.length);
    logger.warn(
      { err: error, code: refused?.code, slots: looked.length, ...idsOf(looked[0]!) },
      'a call to the runs service failed; its slots are sent again',
    );
    const half = Math.max(1, Math.floor(looked.length / 2));
    for (const { slot, look } of looked) {
      slot.attempts++;
      if (looked.length > 1 && refused && maybeTooLarge(refused.code)) slot.batchLimit = half;
      if (refused?.project !== undefined && refused.project === look.project) this.#choice.slow(slot);
      this.#retry(slot, 'CALL_FAILED');
    }
  }

  /**
   * Takes in an answer. Whatever it says, the attempt's `not_after` stands: a refusal speaks of the copy that was refused, and a proxy may
   * hold another one, which the service may accept when what it refused has changed.
   */
  #answered(slot: Slot, look: LastLook, answer: Answer, runId: string): void {
    const { metrics, logger } = this.#o;
    const ids = () => ({ ...idsOf({ slot, look }), runId, attempts: slot.attempts });
    switch (answer.kind) {
      case 'fired': {
        const latenessMs = slot.firedAtMs - slot.dueMs;
        if (!answer.asAsked) {
          metrics.otherSpec.inc();
          logger.warn(ids(), 'a run exists for the slot, created with another spec');
        } else if (logger.isLevelEnabled('debug')) {
          logger.debug(
            { ...ids(), latenessMs, created: answer.created },
            answer.skipped ? 'skipped by its overlap policy' : 'fired',
          );
        }
        this.#choice.created(slot);
        if (slot.redrive === undefined && this.#o.engine.unsuspend(slot.schedule))
          this.#o.quarantines.lift(slot.id);
        this.#fired(slot, answer, runId, latenessMs);
        return;
      }
      case 'dead':
        metrics.failedFires.inc();
        logger.error(
          { ...ids(), ...answer.verdict },
          'refused for good: the slot is dead, unless a run of it turns up',
        );
        this.#giveUp(slot, answer.verdict);
        return;
      case 'expired':
        this.#retry(slot, 'EXPIRED');
        return;
      case 'retry':
        metrics.failedFires.inc();
        logger.warn({ ...ids(), code: answer.code, message: answer.message }, 'not created; sent again');
        if (answer.project !== undefined && answer.project === look.project) this.#choice.slow(slot);
        this.#retry(slot, answer.code);
        return;
    }
  }

  #fired(slot: Slot, { created, skipped }: FiredAnswer, runId: string, latenessMs: number): void {
    const { engine, ledger, redrives, metrics, firedLedger } = this.#o;
    if (slot.redrive !== undefined) {
      if (skipped) redrives?.overlapped(slot);
      else redrives?.fired(slot, runId, created);
      return;
    }
    if (skipped) {
      metrics.writtenOff.inc({ outcome: OVERLAPPED.outcome, reason: OVERLAPPED.reason });
      ledger.add({ ...firedRow(slot, runId, created), ...OVERLAPPED });
    } else {
      metrics.fired(slot.live, latenessMs);
      firedLedger?.add(firedRow(slot, runId, created));
    }
    engine.settle(slot, skipped);
  }

  #giveUp(slot: Slot, verdict: Verdict): void {
    if (slot.redrive === undefined) this.#o.engine.writeOff(slot, writeOffOf(slot, verdict));
    else this.#o.redrives?.dead(slot, verdict);
  }

  /** The database's clock was set back since the slot fell due. It is asked again soon, for it may be put right. */
  #retry(slot: Slot, reason: string): void {
    const { clock, entropy, metrics, redrives } = this.#o;
    metrics.retries.inc({ reason });
    if (slot.redrive !== undefined && redrives?.yields(slot)) return;
    const delayMs = backoffMs(RETRY, Math.max(1, slot.attempts), entropy.fraction());
    this.#choice.again(slot, clock.monotonic() + delayMs);
    this.wake();
  }
}

/** The ledger row of a slot that fired. When an earlier attempt of another leader created its run, its fire time is that run's to tell. */
function firedRow(slot: Slot, runId: string, created: boolean): LedgerRow {
  const known = created || slot.attempts > 1;
  return {
    schedule: slot.id,
    revision: slot.revision,
    nominalMs: slot.nominalSec * 1000,
    lastNominalMs: slot.nominalSec * 1000,
    slots: 1,
    outcome: 'FIRED',
    reason: created ? 'CREATED' : 'EXISTED',
    message: '',
    runId,
    fireMs: known ? slot.firedAtMs : undefined,
    latenessMs: known ? slot.firedAtMs - slot.dueMs : undefined,
  };
}

/** Why a redrive is not sent. */
function redriveVerdict({ stop }: LastLook): Verdict {
  return {
    outcome: 'DEAD',
    reason: stop === null ? 'NO_SLOT' : 'REDRIVE_STOPPED',
    message:
      stop === null
        ? 'no active revision holds its time any more'
        : `the schedule was ${stop.toLowerCase()} after its redrive had been asked for`,
  };
}

function idsOf({ slot, look }: Looked): Record<string, unknown> {
  return {
    schedule: `projects/${look.project}/domains/${look.domain}/schedules/${look.scheduleId}`,
    revision: slot.revision,
    nominal: new Date(slot.nominalSec * 1000).toISOString(),
  };
}
