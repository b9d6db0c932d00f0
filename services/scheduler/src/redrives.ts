import { isDataError } from '@carillon/db/sqlstate.ts';
import type { Redrive, RedriveKey, SettledRedrive } from '@carillon/db/tables/slot-redrives.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import type { Lease } from './leadership.ts';
import type { SchedulerMetrics } from './metrics.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { SettledSlotsStore } from './settled-slots-store.ts';
import { type Slot, type Verdict, verdictMessage } from './slot.ts';
import { type ProbeResult, probeSlots, type SlotProbeOptions } from './slot-probe.ts';
import { dueOf } from './timing.ts';
import type { TimingCache } from './timing-cache.ts';
import { noteRetention } from './verdicts.ts';

/** What redrives act through. */
export interface RedrivesOptions extends SlotProbeOptions {
  readonly settledSlots: SettledSlotsStore;
  readonly lease: Lease;
  readonly timings: TimingCache;
  readonly databaseClock: DatabaseClock;
  readonly metrics: SchedulerMetrics;
  readonly logger: Logger;
  /** There is something to send. */
  readonly onReady: () => void;
}

/** How many redrives are held in memory, fewer of a schedule where others wait; the rest waits in its table. */
const MAX_HELD = 1_000;
const READ_AT_ONCE = 200;
const PROBES_PER_CALL = 500;
/** Slots that are taken up here are in no table of schedules. */
const NO_SCHEDULE = -1;

/**
 * Dead slots that somebody asked to send again. They go through the executor like missed slots, but without a window, and hold no watermark. A
 * request stays in its table until what came of it is written down, in one statement with it: a leader that dies in between leaves it to
 * the next one, which finds the run there.
 */
export class Redrives {
  readonly #o: RedrivesOptions;
  /** The keys of all that are in memory. */
  readonly #held = new Set<string>();
  /** How many those are, by schedule. */
  readonly #heldOf = new Map<number, number>();
  /** By schedule: how many more are held than is its share, while others wait for a place. */
  #surplus: ReadonlyMap<number, number> = new Map();
  /** Redrives that were asked for up to a time may have been sent before, and their runs be created up to another. */
  #sentBefore: { readonly requestMs: number; readonly notAfterMs: number };
  /** Those of which nothing has come yet. */
  readonly #bySlot = new Map<Slot, RedriveKey>();
  /** Places in `#waiting`, in turn between projects. */
  readonly #ready = new ReadyQueue();
  readonly #waiting = new Map<number, { readonly slot: Slot; readonly project: number }>();
  readonly #projects = new Map<string, number>();
  /** Slots that are dead again, but may have been sent before: to be looked for when nothing can create their runs any more. */
  readonly #doubtful = new Map<Slot, Verdict>();
  /** How many of those are looked for together, at most: fewer after a failure. */
  #mostDoubts = PROBES_PER_CALL;
  #settled: SettledRedrive[] = [];
  #places = 0;
  #polling: Promise<void> | undefined;
  #again = false;

  constructor(options: RedrivesOptions) {
    this.#o = options;
    // By an earlier leader, under a lease that ended no later than this.
    this.#sentBefore = { requestMs: options.lease.grantedAtMs, notAfterMs: options.lease.firstExpireMs };
  }

  /** How many wait to be taken. */
  get readySize(): number {
    return this.#ready.size;
  }

  /** How many are held in memory, from being read to being written down. */
  get size(): number {
    return this.#held.size;
  }

  /** Takes up to `limit` slots of about `byteLimit` bytes of payload, in turn between projects. */
  take(limit: number, byteLimit: number): Slot[] {
    const slots: Slot[] = [];
    let bytes = 0;
    while (slots.length < limit) {
      const place = this.#ready.shift();
      if (place === undefined) break;
      const { slot, project } = this.#waiting.get(place)!;
      const size = slot.redrive?.payloadBytes ?? 0;
      if (bytes + size > byteLimit) {
        this.#ready.push(project, place);
        break;
      }
      this.#waiting.delete(place);
      bytes += size;
      slots.push(slot);
    }
    return slots;
  }

  /** Whether the slot was taken and nothing has come of it yet. */
  holds(slot: Slot): boolean {
    return this.#bySlot.has(slot) && !this.#doubtful.has(slot);
  }

  /** Whether a slot that was taken and could not be sent goes back to its table, to make room for others, rather than being sent again from here. */
  yields(slot: Slot): boolean {
    const key = this.#bySlot.get(slot);
    const surplus = key === undefined ? 0 : (this.#surplus.get(key.schedule) ?? 0);
    if (key === undefined || surplus === 0 || this.#doubtful.has(slot)) return false;
    this.#surplus = new Map(this.#surplus).set(key.schedule, surplus - 1);
    const { requestMs, notAfterMs } = this.#sentBefore;
    // One of those that were asked for by then is too many; to take them for sent costs a probe.
    this.#sentBefore = {
      requestMs: Math.max(requestMs, this.#redriveOf(slot).requestMs),
      notAfterMs: Math.max(notAfterMs, slot.notAfterMs),
    };
    this.#bySlot.delete(slot);
    this.#letGo(key);
    return true;
  }

  /** A run exists for the slot. `created`: by this attempt. */
  fired(slot: Slot, runId: string, created: boolean): void {
    const { requestMs } = this.#redriveOf(slot);
    // If it may have been created before it was taken up, nobody knows when it was first sent.
    const known = slot.firedAtMs > 0 && (created || requestMs > this.#sentBefore.requestMs);
    this.#settle(slot, {
      outcome: 'FIRED',
      reason: 'REDRIVEN',
      runId,
      fireMs: known ? slot.firedAtMs : undefined,
    });
  }

  /** The slot is dead all the same. If it may have been sent, that is certain only when a later probe finds no run. */
  dead(slot: Slot, verdict: Verdict): void {
    if (slot.notAfterMs > 0) this.#doubtful.set(slot, verdict);
    else this.#settleDead(slot, verdict);
  }

  /** A run stands under the slot's name that its overlap policy did not let execute: that decision stays. */
  overlapped(slot: Slot): void {
    this.#settleDead(slot, {
      outcome: 'DEAD',
      reason: 'OVERLAP',
      message: 'its overlap policy skipped it when it was redriven',
    });
  }

  /** Writes down what came of redrives, and takes up new ones. A call during another one makes that one go on, and waits for it. */
  async poll(): Promise<void> {
    this.#again = true;
    this.#polling ??= this.#pollWhileAsked().finally(() => {
      this.#polling = undefined;
    });
    await this.#polling;
  }

  async #pollWhileAsked(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      // New ones first: neither the runs service nor a failed write keeps them waiting.
      await this.#takeUp();
      await this.#writeDown();
      if (await this.#resolveDoubts()) await this.#writeDown();
    }
  }

  async #takeUp(): Promise<void> {
    const { settledSlots, onReady, lease } = this.#o;
    if (!lease.trusted) return;
    const keys = await settledSlots.readRedriveKeys(MAX_HELD);
    const fresh = this.#share(keys);
    for (let first = 0; first < fresh.length; first += READ_AT_ONCE) {
      const redrives = await settledSlots.readRedrives(fresh.slice(first, first + READ_AT_ONCE));
      for (const redrive of redrives) this.#add(redrive);
      if (redrives.length > 0) onReady();
    }
  }

  /** Of those that are to have a place: which to take up now. For the others, slots of schedules that hold too many will yield. */
  #share(keys: readonly RedriveKey[]): RedriveKey[] {
    const shares = new Map<number, number>();
    for (const { schedule } of keys) shares.set(schedule, (shares.get(schedule) ?? 0) + 1);
    const taken = new Map(this.#heldOf);
    const fresh: RedriveKey[] = [];
    for (const key of keys) {
      if (fresh.length + this.#held.size >= MAX_HELD) break;
      const count = taken.get(key.schedule) ?? 0;
      if (this.#held.has(keyOf(key)) || count >= shares.get(key.schedule)!) continue;
      taken.set(key.schedule, count + 1);
      fresh.push(key);
    }
    // If there are fewer, all of them have a place.
    const isFull = keys.length === MAX_HELD;
    const surplus = isFull
      ? [...taken].map(([schedule, count]) => [schedule, count - (shares.get(schedule) ?? 0)] as const)
      : [];
    this.#surplus = new Map(surplus.filter(([, count]) => count > 0));
    return fresh;
  }

  #hold(key: RedriveKey): void {
    this.#held.add(keyOf(key));
    this.#heldOf.set(key.schedule, (this.#heldOf.get(key.schedule) ?? 0) + 1);
  }

  #letGo({ schedule, nominalMs }: RedriveKey): void {
    this.#held.delete(keyOf({ schedule, nominalMs }));
    const count = (this.#heldOf.get(schedule) ?? 0) - 1;
    if (count > 0) this.#heldOf.set(schedule, count);
    else this.#heldOf.delete(schedule);
  }

  #add(redrive: Redrive): void {
    const { timings, logger } = this.#o;
    const { schedule, revision, nominalMs, requestMs, project, domain, scheduleId } = redrive;
    const identity = `${project}/${domain}/${scheduleId}`;
    const nominalSec = nominalMs / 1000;
    let slot: Slot;
    try {
      const timing = timings.get(redrive.timing, identity, redrive.anchorMs);
      slot = {
        kind: 'slot',
        schedule: NO_SCHEDULE,
        id: schedule,
        revision,
        nominalSec,
        dueMs: dueOf(timing, nominalSec),
        timing,
        live: false,
        redrive: { requestMs, payloadBytes: redrive.payloadBytes, project: redrive.project },
        maybeSentBefore: false,
        spans: 1,
        attempts: 0,
        firedAtMs: 0,
        notAfterMs: requestMs <= this.#sentBefore.requestMs ? this.#sentBefore.notAfterMs : 0,
        batchLimit: Number.POSITIVE_INFINITY,
      };
    } catch (error) {
      logger.error({ err: error, scheduleId: schedule, revision }, 'a redrive cannot be planned');
      const message = verdictMessage(error instanceof Error ? error.message : String(error));
      this.#hold(redrive);
      this.#settled.push(deadRow(redrive, 'UNUSABLE_SPEC', message));
      return;
    }
    this.#hold(redrive);
    this.#bySlot.set(slot, redrive);
    let number = this.#projects.get(project);
    if (number === undefined) {
      number = this.#projects.size;
      this.#projects.set(project, number);
    }
    const place = this.#places++ % 0x1_0000_0000;
    this.#waiting.set(place, { slot, project: number });
    this.#ready.push(number, place);
  }

  async #writeDown(): Promise<void> {
    const { settledSlots, lease } = this.#o;
    const parts = this.#settled.length > 0 ? [this.#settled] : [];
    this.#settled = [];
    for (let part = parts.shift(); part; part = parts.shift()) {
      let written = false;
      let failure: unknown;
      try {
        written = await settledSlots.settleRedrives(lease, part);
      } catch (error) {
        failure = error;
      }
      if (written) {
        for (const key of part) this.#letGo(key);
      } else if (isDataError(failure)) {
        const half = Math.ceil(part.length / 2);
        if (part.length > 1) parts.unshift(part.slice(0, half), part.slice(half));
        else for (const row of part) this.#refused(row, failure);
      } else {
        // A refused epoch changes nothing here: another leads, and finds the requests in their table.
        this.#settled.unshift(...part, ...parts.flat());
        if (failure !== undefined) throw failure;
        return;
      }
    }
  }

  /** The database refuses what came of a redrive. Its request stays, and stays held here: another leader takes it up again. */
  #refused({ schedule, nominalMs, outcome, reason }: SettledRedrive, error: unknown): void {
    const { metrics, logger } = this.#o;
    metrics.refusedRows.inc();
    logger.error(
      { err: error, scheduleId: schedule, nominal: new Date(nominalMs).toISOString(), outcome, reason },
      'what came of a redrive cannot be written down; the next leader takes it up again',
    );
  }

  /** Settles those whose runs nothing can create any more, together; tells whether there were any. One that cannot be looked for holds up no other for long. */
  async #resolveDoubts(): Promise<boolean> {
    const nowMs = this.#o.databaseClock.now();
    let resolved = false;
    for (;;) {
      const asked = [...this.#doubtful]
        .filter(([slot]) => slot.notAfterMs < nowMs)
        .slice(0, this.#mostDoubts);
      if (asked.length === 0) return resolved;
      let runs: ProbeResult[];
      try {
        runs = await probeSlots(
          this.#o,
          asked.map(([slot]) => slot),
        );
      } catch (error) {
        this.#probeFailed(asked, error);
        return resolved;
      }
      this.#mostDoubts = Math.min(PROBES_PER_CALL, this.#mostDoubts * 2);
      resolved = true;
      asked.forEach(([slot, verdict], index) => {
        const run = runs[index];
        this.#doubtful.delete(slot);
        if (run === undefined) this.#settleDead(slot, verdict);
        else if (run === 'BEYOND_RETENTION')
          this.#settleDead(slot, { ...verdict, message: noteRetention(verdict.message, 'it') });
        else if (run.skipped) this.overlapped(slot);
        else this.fired(slot, run.runId, false);
      });
    }
  }

  /** They go behind the others, and fewer are looked for together: one of them may be the cause. */
  #probeFailed(asked: readonly (readonly [Slot, Verdict])[], error: unknown): void {
    const { metrics, logger } = this.#o;
    for (const [slot, verdict] of asked) {
      this.#doubtful.delete(slot);
      this.#doubtful.set(slot, verdict);
    }
    this.#mostDoubts = Math.max(1, Math.floor(asked.length / 2));
    metrics.catchUpErrors.inc();
    logger.warn(
      { err: error, asked: asked.length, waiting: this.#doubtful.size },
      'looking for the runs of redrives failed; the next poll tries again',
    );
  }

  #settleDead(slot: Slot, { reason, message }: Verdict): void {
    this.#settle(slot, { outcome: 'DEAD', reason, message, runId: '', fireMs: undefined });
  }

  #settle(
    slot: Slot,
    result: Pick<SettledRedrive, 'outcome' | 'reason' | 'runId' | 'fireMs'> & { readonly message?: string },
  ): void {
    const { metrics, logger } = this.#o;
    const key = this.#bySlot.get(slot);
    if (key === undefined) throw new Error('settled a redrive that is not held');
    this.#bySlot.delete(slot);
    const { schedule, nominalMs } = key;
    this.#settled.push({
      schedule,
      nominalMs,
      revision: slot.revision,
      requestMs: this.#redriveOf(slot).requestMs,
      message: '',
      ...result,
      latenessMs: result.fireMs === undefined ? undefined : result.fireMs - slot.dueMs,
    });
    metrics.redrives.inc({ outcome: result.outcome });
    logger.info(
      {
        scheduleId: schedule,
        nominal: new Date(nominalMs).toISOString(),
        outcome: result.outcome,
        reason: result.reason,
        runId: result.runId,
      },
      'a redrive is settled',
    );
  }

  #redriveOf(slot: Slot): NonNullable<Slot['redrive']> {
    if (slot.redrive === undefined) throw new Error('this slot is no redrive');
    return slot.redrive;
  }
}

function keyOf({ schedule, nominalMs }: RedriveKey): string {
  return `${schedule}/${nominalMs}`;
}

function deadRow(
  { schedule, nominalMs, revision, requestMs }: Redrive,
  reason: string,
  message: string,
): SettledRedrive {
  return {
    schedule,
    nominalMs,
    revision,
    requestMs,
    outcome: 'DEAD',
    reason,
    message,
    runId: '',
    fireMs: undefined,
    latenessMs: undefined,
  };
}
