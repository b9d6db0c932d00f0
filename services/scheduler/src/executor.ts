import { backoffMs } from '@carillon/core/backoff.ts';
import type { Clock, Entropy } from '@carillon/core/clock.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
import type { TokenBucket } from '@carillon/core/token-bucket.ts';
import type { LastLook } from '@carillon/db/tables/last-look.ts';
import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import type { Logger } from '@carillon/server';
import { type Answer, type FiredAnswer, maybeTooLarge, refusedAnswer } from './answer.ts';
import { type Breaker, BreakerOpenError } from './breaker.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Engine } from './engine.ts';
import type { Lease } from './leadership.ts';
import type { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { Redrives } from './redrives.ts';
import { RetryQueue } from './retry-queue.ts';
import { createRunRequest, type NameScheme } from './run-request.ts';
import { CallFailedError, type RunsTarget, type Sent } from './runs-target.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import { OVERLAPPED, type Slot, type Verdict, writeOffOf } from './slot.ts';
import { stopVerdict } from './verdicts.ts';

/** How slots become calls. */
export interface ExecutorLimits {
  /** The most runs in a call. */
  readonly maxBatch: number;
  /** About how many bytes of payload a call may carry. */
  readonly maxBatchBytes: number;
  /** The most calls at once. */
  readonly maxCalls: number;
  /** The most slots that are handed out and unsettled: the rest stays where it needs no memory. */
  readonly maxOutstanding: number;
  /** The deadline of a call. */
  readonly callTimeoutMs: number;
  /** How many missed slots are sent in a second, at most. */
  readonly catchUpRunsPerSecond: number;
  /** How long the rate takes to come back after the breaker has closed. */
  readonly rampUpMs: number;
}

/** What the executor acts through. */
export interface ExecutorOptions {
  readonly engine: Engine;
  readonly lease: Lease;
  readonly target: RunsTarget;
  readonly bucket: TokenBucket;
  readonly breaker: Breaker;
  readonly store: Pick<SchedulerStore, 'lastLook'>;
  /** Dead slots to send again. Default: none. */
  readonly redrives?: Redrives | undefined;
  /** Records the slots that their overlap policies skipped. */
  readonly ledger: Pick<Ledger, 'add'>;
  /** Records the slots that fired, too. Default: they are not recorded, for their runs say it. */
  readonly firedLedger?: Pick<Ledger, 'add'> | undefined;
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
/** How many slots are looked at together, at most. */
const MAX_LOOK = 500;
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
  readonly #retries = new RetryQueue();
  #calls = 0;
  #looks = 0;
  #closedAtMs = Number.NEGATIVE_INFINITY;
  #backlogSecond = Number.NEGATIVE_INFINITY;
  #backlogSent = 0;

  constructor(options: ExecutorOptions) {
    this.#o = options;
    this.#doorbell = new Doorbell(options.clock);
  }

  get callsInFlight(): number {
    return this.#calls;
  }

  get retrySize(): number {
    return this.#retries.size;
  }

  /** Something may have become ready. */
  wake(): void {
    this.#doorbell.ring();
  }

  /** The breaker has closed: the rate comes back gradually. */
  rampUp(): void {
    this.#closedAtMs = this.#o.clock.monotonic();
    this.wake();
  }

  /** Sends what is ready until the signal aborts; calls in flight go on. */
  async run(signal: AbortSignal): Promise<void> {
    const { bucket, metrics, logger } = this.#o;
    while (!signal.aborted) {
      try {
        if (!this.#mayDispatch()) {
          await this.#doorbell.wait(this.#idleMs(), signal);
          continue;
        }
        await bucket.wait(1, signal);
        const batch = this.#choose();
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
    const { engine, lease, breaker, limits } = this.#o;
    if (this.#calls >= limits.maxCalls || this.#looks >= MAX_LOOKS) return false;
    if (!lease.trusted || breaker.state === 'open') return false;
    // A half-open breaker admits one call.
    if (breaker.state === 'half-open' && this.#calls > 0) return false;
    if (this.#roomForOthers() === 0)
      return engine.liveReadySize > 0 && engine.outstandingSize < limits.maxOutstanding;
    if (this.#retryDue() || (this.#o.redrives?.readySize ?? 0) > 0) return true;
    return engine.readySize > 0 && engine.outstandingSize < limits.maxOutstanding;
  }

  /** How many slots other than fresh live ones may be sent: the last call is kept free for those, if there are several. */
  #roomForOthers(): number {
    const { maxBatch, maxCalls } = this.#o.limits;
    return maxBatch * Math.max(0, Math.max(1, maxCalls - 1) - this.#calls);
  }

  #retryDue(): boolean {
    return this.#retries.nextMs <= this.#o.clock.monotonic();
  }

  #idleMs(): number {
    return Math.min(IDLE_MS, Math.max(1, this.#retries.nextMs - this.#o.clock.monotonic()));
  }

  /** Chooses what goes with the token that was granted, and takes a further token for each further slot. */
  #choose(): Slot[] {
    const { bucket, databaseClock, limits, breaker, clock } = this.#o;
    const nowMs = databaseClock.now();
    const monotonicMs = clock.monotonic();
    // Where a call takes few runs, several calls share a look.
    const room = limits.maxBatch * (limits.maxCalls - this.#calls);
    let limit = Math.min(Math.max(MAX_LOOK, limits.maxBatch), room, 1 + Math.floor(bucket.tokens));
    if (breaker.state === 'half-open') limit = 1;
    const ramp = (monotonicMs - this.#closedAtMs) / limits.rampUpMs;
    if (ramp < 1) limit = Math.max(1, Math.floor(limit * ramp));

    const batch: Slot[] = [];
    let bytes = 0;
    let smallest = limit;
    const roomForOthers = Math.min(limit, this.#roomForOthers());
    while (batch.length < roomForOthers) {
      // By one reading of the clock: what falls due meanwhile is for the next call.
      const slot = this.#retries.shift(monotonicMs);
      if (slot === undefined) break;
      if (slot.dueMs > nowMs) {
        this.#postpone(slot);
        continue;
      }
      if (this.#expired(slot, nowMs)) continue;
      const size = this.#payloadBytes(slot);
      const limitOfBatch = Math.min(smallest, slot.batchLimit);
      if (batch.length > 0 && (batch.length >= limitOfBatch || bytes + size > limits.maxBatchBytes)) {
        this.#retries.add(slot, monotonicMs);
        break;
      }
      batch.push(slot);
      bytes += size;
      smallest = limitOfBatch;
    }
    const bytesLeft = Math.max(0, limits.maxBatchBytes - bytes);
    this.#chooseFresh(batch, smallest, roomForOthers, bytesLeft, nowMs, monotonicMs);
    if (batch.length > 1) bucket.tryTake(batch.length - 1);
    return batch;
  }

  /** Adds what was not sent yet: live slots first, then redrives, which somebody waits for, then missed slots. */
  #chooseFresh(
    batch: Slot[],
    limit: number,
    roomForOthers: number,
    byteLimit: number,
    nowMs: number,
    monotonicMs: number,
  ): void {
    const { engine, redrives, limits } = this.#o;
    let bytesLeft = byteLimit;
    const backlogLimit = (): number =>
      Math.max(0, Math.min(this.#backlogAllowance(monotonicMs), roomForOthers - batch.length));
    const add = (slots: readonly Slot[]): void => {
      for (const slot of slots) {
        if (!slot.live) this.#backlogSent++;
        bytesLeft -= this.#payloadBytes(slot);
        batch.push(slot);
      }
    };
    const planned = (backlogLimit: number): Slot[] => {
      const room = Math.min(limit - batch.length, limits.maxOutstanding - engine.outstandingSize);
      return room > 0 && bytesLeft > 0 ? engine.take(room, backlogLimit, bytesLeft, nowMs) : [];
    };
    if (redrives !== undefined && redrives.readySize > 0) {
      add(planned(0));
      add(redrives.take(Math.min(limit - batch.length, backlogLimit()), bytesLeft));
    }
    add(planned(backlogLimit()));
  }

  #payloadBytes(slot: Slot): number {
    return slot.redrive?.payloadBytes ?? this.#o.engine.schedules.payloadBytes[slot.schedule]!;
  }

  #isUnsettled(slot: Slot): boolean {
    const { engine, redrives } = this.#o;
    return slot.redrive === undefined ? engine.isOutstanding(slot) : (redrives?.holds(slot) ?? false);
  }

  #backlogAllowance(monotonicMs: number): number {
    const second = Math.floor(monotonicMs / 1000);
    if (second !== this.#backlogSecond) {
      this.#backlogSecond = second;
      this.#backlogSent = 0;
    }
    return this.#o.limits.catchUpRunsPerSecond - this.#backlogSent;
  }

  #expired(slot: Slot, nowMs: number): boolean {
    if (slot.redrive !== undefined || nowMs - slot.dueMs <= slot.timing.catchUpWindowMs) return false;
    this.#giveUp(slot, {
      outcome: 'DEAD',
      reason: 'WINDOW_EXPIRED',
      message: `not created within its catch-up window, in ${slot.attempts} attempts`,
    });
    return true;
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
        else this.#postpone(slot);
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

  async #send(looked: readonly Looked[]): Promise<void> {
    const { lease, target, breaker, databaseClock, limits, metrics, nameScheme } = this.#o;
    // Trust is looked at last: the query may have taken long.
    if (!lease.trusted) {
      for (const { slot } of looked) this.#retry(slot, 'NO_LEASE');
      return;
    }
    const nowMs = databaseClock.now();
    const before = looked.map(({ slot }) => ({ firedAtMs: slot.firedAtMs, notAfterMs: slot.notAfterMs }));
    for (const { slot } of looked) {
      if (slot.firedAtMs === 0) slot.firedAtMs = nowMs;
      slot.notAfterMs = Math.max(slot.notAfterMs, lease.expireMs);
    }
    const requests = looked.map(({ slot, look }) => createRunRequest(slot, look, nameScheme));
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

  #callFailed(looked: readonly Looked[], error: unknown): void {
    const { metrics, logger } = this.#o;
    const refused = error instanceof CallFailedError ? error.refused : undefined;
    metrics.failedFires.inc(looked.length);
    logger.warn(
      { err: error, code: refused?.code, slots: looked.length, ...idsOf(looked[0]!) },
      'a call to the runs service failed; its slots are sent again',
    );
    const half = Math.max(1, Math.floor(looked.length / 2));
    for (const { slot } of looked) {
      slot.attempts++;
      if (looked.length > 1 && refused && maybeTooLarge(refused.code)) slot.batchLimit = half;
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
    engine.settle(slot);
  }

  #giveUp(slot: Slot, verdict: Verdict): void {
    if (slot.redrive === undefined) this.#o.engine.writeOff(slot, writeOffOf(slot, verdict));
    else this.#o.redrives?.dead(slot, verdict);
  }

  /** The database's clock was set back since the slot fell due. It is asked again soon, for it may be put right. */
  #postpone(slot: Slot): void {
    this.#retries.add(slot, this.#o.clock.monotonic() + IDLE_MS);
    this.wake();
  }

  #retry(slot: Slot, reason: string): void {
    const { clock, entropy, metrics } = this.#o;
    metrics.retries.inc({ reason });
    const delayMs = backoffMs(RETRY, Math.max(1, slot.attempts), entropy.fraction());
    this.#retries.add(slot, clock.monotonic() + delayMs);
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
