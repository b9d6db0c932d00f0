import type { Clock } from '@carillon/core/clock.ts';
import type { TokenBucket } from '@carillon/core/token-bucket.ts';
import type { Breaker } from './breaker.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Engine } from './engine.ts';
import type { Redrives } from './redrives.ts';
import { RetryQueue } from './retry-queue.ts';
import type { Slot } from './slot.ts';

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

/** What is chosen from. */
export interface SlotChoiceOptions {
  readonly engine: Engine;
  /** Dead slots to send again. Default: none. */
  readonly redrives?: Redrives | undefined;
  readonly bucket: TokenBucket;
  readonly breaker: Breaker;
  readonly limits: ExecutorLimits;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  /** A slot is to be sent again whose catch-up window is over. */
  readonly onExpired: (slot: Slot) => void;
}

/** How many slots are looked at together, at most. */
const MAX_LOOK = 500;
/** After how long a slot is looked at again that turned out not to be due. */
const POSTPONED_MS = 1_000;

/**
 * Which slots are sent next: those that are to be sent again, then live ones, then redrives, which somebody waits for, then missed ones, as far as limits
 * let them. The last call in flight is kept for live ones that were not sent yet.
 */
export class SlotChoice {
  readonly #o: SlotChoiceOptions;
  readonly #retries = new RetryQueue();
  #closedAtMs = Number.NEGATIVE_INFINITY;
  #backlogSecond = Number.NEGATIVE_INFINITY;
  #backlogSent = 0;

  constructor(options: SlotChoiceOptions) {
    this.#o = options;
  }

  /** How many slots wait to be sent again. */
  get retrySize(): number {
    return this.#retries.size;
  }

  /** When the next of them is to be sent, in milliseconds of monotonic time; Infinity: none waits. */
  get nextRetryMs(): number {
    return this.#retries.nextMs;
  }

  /** The breaker has closed: the rate comes back gradually. */
  rampUp(): void {
    this.#closedAtMs = this.#o.clock.monotonic();
  }

  /** Has a slot sent again, at a monotonic time. */
  again(slot: Slot, atMs: number): void {
    this.#retries.add(slot, atMs);
  }

  /** Has a slot looked at again that is not due any more: the database's clock was set back. */
  postpone(slot: Slot): void {
    this.again(slot, this.#o.clock.monotonic() + POSTPONED_MS);
  }

  /** Whether there may be anything to send beside `calls` that are in flight. */
  isAny(calls: number): boolean {
    const { engine, redrives, limits, clock } = this.#o;
    if (this.#roomForOthers(calls) === 0)
      return engine.liveReadySize > 0 && engine.outstandingSize < limits.maxOutstanding;
    if (this.#retries.nextMs <= clock.monotonic() || (redrives?.readySize ?? 0) > 0) return true;
    return engine.readySize > 0 && engine.outstandingSize < limits.maxOutstanding;
  }

  /** Chooses what goes with the token that was granted, and takes a further token for each further slot. */
  choose(calls: number): Slot[] {
    const { bucket, databaseClock, limits, breaker, clock } = this.#o;
    const nowMs = databaseClock.now();
    const monotonicMs = clock.monotonic();
    // Where a call takes few runs, several calls share a look.
    const room = limits.maxBatch * (limits.maxCalls - calls);
    let limit = Math.min(Math.max(MAX_LOOK, limits.maxBatch), room, 1 + Math.floor(bucket.tokens));
    if (breaker.state === 'half-open') limit = 1;
    const ramp = (monotonicMs - this.#closedAtMs) / limits.rampUpMs;
    if (ramp < 1) limit = Math.max(1, Math.floor(limit * ramp));

    const batch: Slot[] = [];
    let bytes = 0;
    let smallest = limit;
    const roomForOthers = Math.min(limit, this.#roomForOthers(calls));
    while (batch.length < roomForOthers) {
      // By one reading of the clock: what falls due meanwhile is for the next call.
      const slot = this.#retries.shift(monotonicMs);
      if (slot === undefined) break;
      if (slot.dueMs > nowMs) {
        this.postpone(slot);
        continue;
      }
      if (isExpired(slot, nowMs)) {
        this.#o.onExpired(slot);
        continue;
      }
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

  /** How many slots other than fresh live ones may be sent: the last call is kept free for those, if there are several. */
  #roomForOthers(calls: number): number {
    const { maxBatch, maxCalls } = this.#o.limits;
    return maxBatch * Math.max(0, Math.max(1, maxCalls - 1) - calls);
  }

  #payloadBytes(slot: Slot): number {
    return slot.redrive?.payloadBytes ?? this.#o.engine.schedules.payloadBytes[slot.schedule]!;
  }

  #backlogAllowance(monotonicMs: number): number {
    const second = Math.floor(monotonicMs / 1000);
    if (second !== this.#backlogSecond) {
      this.#backlogSecond = second;
      this.#backlogSent = 0;
    }
    return this.#o.limits.catchUpRunsPerSecond - this.#backlogSent;
  }
}

function isExpired(slot: Slot, nowMs: number): boolean {
  return slot.redrive === undefined && nowMs - slot.dueMs > slot.timing.catchUpWindowMs;
}
