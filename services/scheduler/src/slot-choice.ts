import { backoffMs } from '@carillon/core/backoff.ts';
import type { Clock, Entropy } from '@carillon/core/clock.ts';
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
  readonly redrives?: Pick<Redrives, 'readySize' | 'take'> | undefined;
  readonly bucket: TokenBucket;
  readonly breaker: Breaker;
  readonly limits: ExecutorLimits;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly databaseClock: DatabaseClock;
  /** A slot is to be sent again whose catch-up window is over. */
  readonly onExpired: (slot: Slot) => void;
}

/** How many slots are looked at together, at most. */
const MAX_LOOK = 500;
/** After how long a slot is looked at again that turned out not to be due. */
const POSTPONED_MS = 1_000;
/** How long a project is passed over that has come to a limit of its own. */
const PROJECT_BACKOFF = { initialMs: 1_000, maxMs: 30_000 };

/** A project that has come to a limit of its own. */
interface SlowProject {
  /** How often in a row. */
  times: number;
  /** Until then it is passed over, by the monotonic clock. */
  untilMs: number;
}

/**
 * Which slots are sent next, as far as limits let them: live ones, then redrives, which somebody waits for, then missed ones. Those that are sent for the
 * first time and those that are sent again share what there is, half each, if both wait: neither keeps the others waiting, whatever is answered. Projects take
 * turns within each. The last call in flight is kept for live ones that were not sent yet.
 */
export class SlotChoice {
  readonly #o: SlotChoiceOptions;
  readonly #retries = new RetryQueue();
  /** By number. */
  readonly #slow = new Map<number, SlowProject>();
  #closedAtMs = Number.NEGATIVE_INFINITY;
  #backlogSecond = Number.NEGATIVE_INFINITY;
  #backlogSent = 0;
  /** Whose turn it is for the odd one of a share. */
  #oddOne: 0 | 1 = 0;

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
    this.#retries.add(slot, this.#projectOf(slot), atMs);
  }

  /** Has a slot looked at again that is not due any more: the database's clock was set back. */
  postpone(slot: Slot): void {
    this.again(slot, this.#o.clock.monotonic() + POSTPONED_MS);
  }

  /** The project of a slot has come to a limit of its own: it is passed over for a while, longer each time in a row. */
  slow(slot: Slot): void {
    const { clock, entropy } = this.#o;
    const project = this.#projectOf(slot);
    const monotonicMs = clock.monotonic();
    const known = this.#slow.get(project);
    // Others that were under way at the same time say nothing new.
    if (known && monotonicMs < known.untilMs) return;
    const times = (known?.times ?? 0) + 1;
    const { initialMs } = PROJECT_BACKOFF;
    const untilMs = monotonicMs + initialMs / 2 + backoffMs(PROJECT_BACKOFF, times, entropy.fraction());
    this.#slow.set(project, { times, untilMs });
  }

  /** A run of a slot's project was created: it is not at its limit. */
  created(slot: Slot): void {
    if (this.#slow.size > 0) this.#slow.delete(this.#projectOf(slot));
  }

  /** Whether there may be anything to send beside `calls` that are in flight. */
  isAny(calls: number): boolean {
    const { engine, redrives, limits, clock } = this.#o;
    const hasRoom = engine.outstandingSlots < limits.maxOutstanding;
    if (this.#roomForOthers(calls) === 0) return engine.liveReadySize > 0 && hasRoom;
    this.#retries.advance(clock.monotonic());
    if (this.#retries.liveSize + this.#retries.othersSize + (redrives?.readySize ?? 0) > 0) return true;
    return engine.readySize > 0 && hasRoom;
  }

  /** Chooses what goes with the token that was granted, and takes a further token for each further slot. */
  choose(calls: number): Slot[] {
    const { bucket, databaseClock, engine, redrives, limits, clock } = this.#o;
    const retries = this.#retries;
    const monotonicMs = clock.monotonic();
    retries.advance(monotonicMs);
    const limit = 1 + bucket.takeUpTo(this.#most(calls, monotonicMs) - 1);
    const nowMs = databaseClock.now();
    const isHeld = this.#heldProjects(monotonicMs);
    const batch = new Batch(limit, limits.maxBatchBytes);
    const roomForOthers = (): number =>
      Math.min(batch.room, Math.min(limit, this.#roomForOthers(calls)) - batch.slots.length);
    const missedLimit = (): number =>
      Math.max(0, Math.min(this.#backlogAllowance(monotonicMs), roomForOthers()));

    const addAgain = (count: number, live: boolean): void => {
      for (let left = count; left > 0; ) {
        const slot = retries.shift(live, isHeld);
        if (slot === undefined) return;
        if (slot.dueMs > nowMs) this.postpone(slot);
        else if (isExpired(slot, nowMs)) this.#o.onExpired(slot);
        else if (batch.add(slot, this.#payloadBytes(slot))) left--;
        else {
          this.again(slot, monotonicMs);
          return;
        }
      }
    };
    const addFresh = (count: number, missed: number): void => {
      const room = Math.min(count, batch.room, limits.maxOutstanding - engine.outstandingSlots);
      if (room <= 0 || batch.bytesLeft <= 0) return;
      for (const slot of engine.take(room, missed, batch.bytesLeft, nowMs, isHeld)) this.#addNew(batch, slot);
    };

    const live = this.#shares(limit, engine.liveReadySize, Math.min(roomForOthers(), retries.liveSize));
    addAgain(live.again, true);
    addFresh(live.fresh, 0);
    if (redrives !== undefined && redrives.readySize > 0) {
      for (const slot of redrives.take(missedLimit(), batch.bytesLeft)) this.#addNew(batch, slot);
    }
    const waiting = Math.min(missedLimit(), engine.readySize - engine.liveReadySize);
    addAgain(this.#shares(Math.max(0, roomForOthers()), waiting, retries.othersSize).again, false);
    addFresh(batch.room, missedLimit());
    bucket.refund(limit - Math.max(1, batch.slots.length));
    return batch.slots;
  }

  /** How many slots may go together, whatever the rate. */
  #most(calls: number, monotonicMs: number): number {
    const { limits, breaker } = this.#o;
    // Where a call takes few runs, several calls share a look.
    const most = Math.min(Math.max(MAX_LOOK, limits.maxBatch), limits.maxBatch * (limits.maxCalls - calls));
    if (breaker.state === 'half-open') return 1;
    const ramp = (monotonicMs - this.#closedAtMs) / limits.rampUpMs;
    return ramp < 1 ? Math.max(1, Math.floor(most * ramp)) : most;
  }

  /** How many of `total` are for slots that are sent for the first time, and how many for those that are sent again. */
  #shares(total: number, fresh: number, again: number): { fresh: number; again: number } {
    if (fresh + again <= total) return { fresh, again };
    if (total % 2 === 1) this.#oddOne = this.#oddOne === 0 ? 1 : 0;
    const half = Math.floor((total + this.#oddOne) / 2);
    const freshShare = Math.min(fresh, Math.max(half, total - again));
    return { fresh: freshShare, again: Math.min(again, total - freshShare) };
  }

  /** Adds a slot that was not sent before. */
  #addNew(batch: Batch, slot: Slot): void {
    if (!slot.live) this.#backlogSent++;
    batch.append(slot, this.#payloadBytes(slot));
  }

  /** Which projects are passed over; undefined: none is. */
  #heldProjects(monotonicMs: number): ((project: number) => boolean) | undefined {
    if (this.#slow.size === 0) return undefined;
    return (project) => monotonicMs < (this.#slow.get(project)?.untilMs ?? Number.NEGATIVE_INFINITY);
  }

  #projectOf(slot: Slot): number {
    const { schedules } = this.#o.engine;
    // The schedule of a redrive need not be in memory.
    if (slot.redrive !== undefined) return schedules.projectNumber(slot.redrive.project);
    return schedules.project[slot.schedule]!;
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

/** Slots that go together. */
class Batch {
  readonly slots: Slot[] = [];
  #limit: number;
  bytesLeft: number;

  constructor(limit: number, byteLimit: number) {
    this.#limit = limit;
    this.bytesLeft = byteLimit;
  }

  /** How many more there is room for. */
  get room(): number {
    return Math.max(0, this.#limit - this.slots.length);
  }

  /** Adds a slot unless it, or those before it, would be too many then, or too large. The first one always fits. */
  add(slot: Slot, bytes: number): boolean {
    const limit = Math.min(this.#limit, slot.batchLimit);
    if (this.slots.length > 0 && (this.slots.length >= limit || bytes > this.bytesLeft)) return false;
    this.#limit = limit;
    this.append(slot, bytes);
    return true;
  }

  /** Adds a slot that is known to fit. */
  append(slot: Slot, bytes: number): void {
    this.slots.push(slot);
    this.bytesLeft -= bytes;
  }
}

function isExpired(slot: Slot, nowMs: number): boolean {
  return slot.redrive === undefined && nowMs - slot.dueMs > slot.timing.catchUpWindowMs;
}
