import type { UnitKey } from '@carillon/core/assignment.ts';
import { type DueRange, unionOf, without } from '@carillon/core/due-ranges.ts';
import { segmentsOf } from '@carillon/core/live-terms.ts';
import { TimerQueue } from '@carillon/core/timer-queue.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { ScheduleRecord, SpanBounds, SpanRecord } from './schedule-record.ts';
import { ScheduleTable } from './schedule-table.ts';
import {
  lastDueOf,
  lastDueWithin,
  type Outstanding,
  type Slot,
  type Verdict,
  type WriteOff,
} from './slot.ts';
import { NO_STREAM, StreamTable } from './stream-table.ts';
import { dueOf, firstSlotAfter, isExclusive, newestSlots } from './timing.ts';
import { UnitTable } from './unit-table.ts';

/** A schedule that lags this far behind gets a watermark of its own, so that the frontier can go on without it. */
const LAGGARD_AFTER_MS = 5_000;
/** How many laggard rows a checkpoint writes at most; the rest waits for the next one. */
const LAGGARDS_PER_CHECKPOINT = 1_000;
/** How many due streams are moved at one go: about a millisecond's work. */
const POPS_PER_TURN = 4_096;

/** What `ready` says of a stream: it waits in a ready queue; it is put aside. */
const IN_QUEUE = 1;
const PARKED = 2;

/** The watermark of one schedule. */
export interface Laggard {
  /** The schedule's handle. */
  readonly schedule: number;
  readonly throughMs: number;
  readonly settledAbove: readonly DueRange[];
}

/** What is settled, as it can be written down now. */
export interface Checkpoint {
  /** Every slot due up to here is settled, but for schedules that have a laggard row. */
  readonly frontierMs: number;
  /** The units in which something was settled since the last checkpoint that was confirmed. */
  readonly units: readonly UnitKey[];
  /** Of each of them: its frontier, or what is stored of it if that is further. */
  readonly throughMs: readonly number[];
  /** Laggard rows to write. */
  readonly laggards: readonly Laggard[];
  /** Handles of schedules whose laggard row is to be deleted: they have caught up with the frontier. */
  readonly caughtUp: readonly number[];
}

/** What the engine tells its owner. */
export interface EngineEvents {
  /** Slots are to be settled without a run. */
  writeOff(writeOff: WriteOff): void;
}

/**
 * All schedules in memory, and which of their slots are due. It plans and never acts: whoever drives it advances it to the
 * present, takes slots from it, and tells it what is settled.
 */
export class Engine {
  readonly schedules = new ScheduleTable();
  /** The units of ownership that are known, and how far each is stored. */
  readonly #units: UnitTable;
  readonly #streams = new StreamTable();
  readonly #timers = new TimerQueue();
  /** Streams of schedules without a watermark of their own that wait to be taken: they hold the frontier. */
  readonly #overdue = new TimerQueue();
  readonly #liveReady = new ReadyQueue();
  readonly #backlogReady = new ReadyQueue();
  /** Streams by schedule that wait for another slot of theirs to be settled. */
  readonly #parked = new Map<number, number[]>();
  readonly #outstanding = new Map<number, Set<Outstanding>>();
  /** What quarantined schedules have to settle as soon as it can be read: spans of theirs, for nobody knows which slots these hold. */
  readonly #held = new Map<number, readonly HeldSpan[]>();
  /** Schedules with a watermark of their own that has changed since it was written. */
  readonly #dirtyLaggards = new Set<number>();
  /** Those of which it is not certain that a row exists: they hold the frontier. */
  readonly #unconfirmed = new Set<number>();
  /** Those whose spans have changed since: with the next row of their unit's snapshot, theirs is written too. */
  readonly #changedLaggards = new Set<number>();
  /**
   * Schedules of which slots were settled without a run, and the last due time of these: until the frontier has passed it they have a
   * watermark of their own, so that what the ledger says of a slot and that it is settled are stored together, and never decided anew.
   */
  readonly #writtenOff = new Map<number, number>();
  readonly #due = new Uint32Array(POPS_PER_TURN);
  #events: EngineEvents;
  /** The database's clock, which may be set back, and the latest that it has said. */
  #nowMs = Number.NEGATIVE_INFINITY;
  #advancedToMs = Number.NEGATIVE_INFINITY;
  /** The latest that slots were taken: a clock that goes on by a leap hands out what was never advanced to. */
  #takenToMs = Number.NEGATIVE_INFINITY;
  #outstandingCount = 0;
  #laggardCount = 0;

  /** @param units those that are known without a schedule in them: their frontiers move too */
  constructor(units: Iterable<UnitKey>, events: EngineEvents) {
    this.#units = new UnitTable(units);
    this.#events = events;
  }

  /** Tells another owner from now on. */
  serve(events: EngineEvents): void {
    this.#events = events;
  }

  /** How many streams wait, of slots that are due. */
  get readySize(): number {
    return this.#liveReady.size + this.#backlogReady.size;
  }

  get liveReadySize(): number {
    return this.#liveReady.size;
  }

  /** How many slots and write-offs are handed out and not settled. */
  get outstandingSize(): number {
    return this.#outstandingCount;
  }

  get laggardSize(): number {
    return this.#laggardCount;
  }

  get streamSize(): number {
    return this.#streams.size;
  }

  get quarantinedSize(): number {
    return this.#held.size;
  }

  /**
   * About how many missed slots wait: each stretch divided by the gap after its next slot. It looks at every stream, so it is for
   * people, every few seconds.
   */
  backlogSize(): number {
    const { used, timing, live, dropped, nominal, due, dueThrough, nominalThrough } = this.#streams;
    let slots = 0;
    for (let stream = 0; stream < used; stream++) {
      const recurrence = timing[stream]?.recurrence;
      if (!recurrence || live[stream] === 1 || dropped[stream] === 1) continue;
      const gapMs = (recurrence.next(nominal[stream]!) - nominal[stream]!) * 1000;
      const throughMs = Math.min(dueThrough[stream]!, nominalThrough[stream]! * 1000, this.#advancedToMs);
      slots += 1 + Math.max(0, Math.floor((throughMs - due[stream]!) / gapMs));
    }
    return slots;
  }

  /** When the next slot falls due that does not wait yet: epoch milliseconds, or Infinity. */
  get nextDueMs(): number {
    return this.#timers.peekDue();
  }

  /** When the first slot falls due that schedule `id` has not handed out; Infinity if it has none, or is not known. */
  unsettledSinceMs(id: number): number {
    const schedule = this.schedules.find(id);
    if (schedule === undefined) return Number.POSITIVE_INFINITY;
    const unsettled = this.#unsettledOf(schedule);
    return unsettled[0]?.after ?? Number.POSITIVE_INFINITY;
  }

  /** Goes on from the stored frontiers of an earlier engine, by unit. */
  resume(frontiers: ReadonlyMap<UnitKey, number>): void {
    for (const [key, throughMs] of frontiers) {
      this.#units.stored(this.#units.add(key), throughMs);
      this.#advancedToMs = Math.max(this.#advancedToMs, throughMs);
    }
  }

  /**
   * Takes in a schedule as it now is. Slots that are handed out stay so; what is not, and what was to be written off, is planned anew
   * along the spans.
   * A record that is older than what is known changes nothing.
   */
  apply(record: ScheduleRecord): void {
    const { schedules } = this;
    let schedule = schedules.find(record.id);
    let rest: (span: SpanBounds) => SpanRest;
    const isKnown = schedule !== undefined;
    if (schedule === undefined) {
      const unit = this.#units.add(record.unit);
      schedule = schedules.add(record.id, unit, record.project);
      const { throughMs, settledAbove, frontierMs } = record.watermark;
      rest = ({ settledMs }) => ({
        ranges: without({ after: settledMs, through: Number.POSITIVE_INFINITY }, settledAbove),
        sentThroughMs: Number.NEGATIVE_INFINITY,
      });
      this.#units.spokenFor(unit, frontierMs);
      if (record.watermark.own) {
        this.#setLagging(schedule, true);
        this.#unconfirmed.delete(schedule);
        // For all that is known, the row is there because of what was written off.
        this.#writtenOff.set(schedule, settledAbove.at(-1)?.through ?? throughMs);
      }
      schedules.lastSpan[schedule] = record.seenSpan;
    } else {
      if (record.generation <= schedules.generation[schedule]!) return;
      const rests = this.#restsOf(schedule);
      rest = ({ span }) => rests.get(span) ?? NO_REST;
      this.#held.delete(schedule);
      this.#dropStreams(schedule);
      this.#withdraw(schedule);
    }
    schedules.generation[schedule] = record.generation;
    schedules.payloadBytes[schedule] = record.payloadBytes;
    this.#plan(schedule, record, rest, isKnown);
    if (schedules.lagging[schedule] === 1) {
      this.#dirtyLaggards.add(schedule);
      this.#changedLaggards.add(schedule);
    }
  }

  /**
   * Adds the ids of schedules that have a slot due by `nowMs`, or anything else than slots to come: what is stored of these may say more
   * by now than is known here. For an engine that nobody drives; each slot is told of once.
   */
  overtaken(nowMs: number, ids: Set<number>): void {
    const { id, lagging } = this.schedules;
    for (let count = POPS_PER_TURN; count === POPS_PER_TURN; ) {
      count = this.#timers.popDue(nowMs, POPS_PER_TURN, this.#due);
      for (let i = 0; i < count; i++) ids.add(id[this.#streams.schedule[this.#due[i]!]!]!);
    }
    for (const schedule of this.#outstanding.keys()) ids.add(id[schedule]!);
    for (const schedule of this.schedules.handles()) if (lagging[schedule] === 1) ids.add(id[schedule]!);
  }

  /** Forgets a schedule, and what was to be done about it, as if it had never been applied. */
  forget(id: number): void {
    const schedule = this.schedules.find(id);
    if (schedule === undefined) return;
    this.#held.delete(schedule);
    this.#dropStreams(schedule);
    for (const item of [...(this.#outstanding.get(schedule) ?? [])]) this.#remove(item);
    this.#writtenOff.delete(schedule);
    this.#setLagging(schedule, false);
    this.schedules.remove(schedule);
  }

  /** Moves streams whose slot is due by `nowMs` to the ready queues; true if more are left for another turn. */
  advance(nowMs: number): boolean {
    this.#nowMs = nowMs;
    const count = this.#timers.popDue(nowMs, POPS_PER_TURN, this.#due);
    for (let i = 0; i < count; i++) this.#makeReady(this.#due[i]!);
    if (count === POPS_PER_TURN && this.#timers.peekDue() <= nowMs) {
      this.#advancedToMs = Math.max(this.#advancedToMs, this.#timers.peekDue() - 1);
      return true;
    }
    this.#advancedToMs = Math.max(this.#advancedToMs, nowMs);
    return false;
  }

  /**
   * Hands out up to `limit` slots that are due: live ones first, then missed ones, in turn between projects. Slots that exceed their
   * catch-up window are written off instead.
   *
   * @param backlogLimit how many of them may be missed ones
   * @param byteLimit about how large their payloads may be together; the first slot is handed out whatever its size
   */
  take(limit: number, backlogLimit: number, byteLimit: number, nowMs: number): Slot[] {
    this.#nowMs = nowMs;
    this.#takenToMs = Math.max(this.#takenToMs, nowMs);
    const slots: Slot[] = [];
    let bytes = 0;
    let backlog = 0;
    while (slots.length < limit) {
      const fromLive = this.#liveReady.size > 0;
      if (!fromLive && backlog >= backlogLimit) break;
      const stream = fromLive ? this.#liveReady.shift() : this.#backlogReady.shift();
      if (stream === undefined) break;
      const { schedule: schedules, dropped, ready, due } = this.#streams;
      ready[stream] = 0;
      if (dropped[stream] === 1) {
        this.#streams.free(stream);
        continue;
      }
      // The clock was set back since it was due.
      if (due[stream]! > nowMs) {
        this.#overdue.remove(stream);
        this.#timers.upsert(stream, due[stream]!);
        continue;
      }
      const schedule = schedules[stream]!;
      if (isExclusive(this.#streams.timing[stream]!) && !this.#isNext(stream)) {
        this.#park(stream);
        continue;
      }
      const size = this.schedules.payloadBytes[schedule]!;
      if (slots.length > 0 && bytes + size > byteLimit) {
        this.#makeReady(stream);
        break;
      }
      const slot = this.#handOut(stream, nowMs);
      if (!slot) continue;
      slots.push(slot);
      bytes += size;
      if (!fromLive) backlog++;
    }
    return slots;
  }

  /** Whether the item was handed out and is not settled. */
  isOutstanding(item: Outstanding): boolean {
    return this.#outstanding.get(item.schedule)?.has(item) ?? false;
  }

  /** Replaces an outstanding slot by its write-off. */
  writeOff(slot: Slot, writeOff: WriteOff): void {
    this.#remove(slot);
    this.#unpark(slot.schedule);
    this.#add(writeOff);
    this.#events.writeOff(writeOff);
  }

  /** The slot, or all slots of the write-off, have their outcome. */
  settle(item: Outstanding): void {
    this.#remove(item);
    this.#unpark(item.schedule);
    this.#units.touched[this.schedules.unit[item.schedule]!] = 1;
    if (item.kind === 'write-off') {
      const before = this.#writtenOff.get(item.schedule) ?? Number.NEGATIVE_INFINITY;
      this.#writtenOff.set(item.schedule, Math.max(before, lastDueOf(item)));
      this.#setLagging(item.schedule, true);
    }
    if (this.schedules.lagging[item.schedule] === 1) this.#dirtyLaggards.add(item.schedule);
  }

  /** Whether slots from the first to the last nominal time are handed out, and not settled. */
  hasSlotsWithin(schedule: number, firstNominalSec: number, lastNominalSec: number): boolean {
    for (const item of this.#outstanding.get(schedule) ?? []) {
      if (item.kind === 'slot' && item.nominalSec >= firstNominalSec && item.nominalSec <= lastNominalSec)
        return true;
    }
    return false;
  }

  /** What can be written down now. `everyUnit` also moves the frontiers of units in which nothing was settled. */
  checkpoint(nowMs: number, everyUnit: boolean): Checkpoint {
    this.#electLaggards(nowMs);
    const { lagging, unit } = this.schedules;
    const { storedMs, spokenForMs, touched } = this.#units;
    const included = new Set<number>(this.#changedLaggards);
    for (const schedule of this.#writtenOff.keys()) {
      if (this.#dirtyLaggards.has(schedule)) included.add(schedule);
    }
    // Those without a row of their own come before others: until it is written they hold the frontier as before.
    const most = included.size + LAGGARDS_PER_CHECKPOINT;
    for (const schedule of [...this.#unconfirmed, ...this.#dirtyLaggards]) {
      if (included.size >= most) break;
      included.add(schedule);
    }
    // In whole milliseconds, as it is stored and slots fall due.
    let frontierMs = Math.min(
      Math.floor(this.#advancedToMs),
      this.#timers.peekDue() - 1,
      this.#overdue.peekDue() - 1,
    );
    for (const items of this.#outstanding.values()) {
      for (const item of items) {
        if (lagging[item.schedule] === 0) frontierMs = Math.min(frontierMs, item.dueMs - 1);
      }
    }
    for (const schedule of this.#unconfirmed) {
      if (!included.has(schedule)) frontierMs = Math.min(frontierMs, this.#laggardOf(schedule).throughMs);
    }
    const throughOf = (index: number): number => Math.max(storedMs[index]!, frontierMs);
    for (const [schedule, throughMs] of this.#writtenOff) {
      if (throughMs <= throughOf(unit[schedule]!)) included.add(schedule);
    }
    const laggards: Laggard[] = [];
    const caughtUp: number[] = [];
    for (const schedule of included) {
      const laggard = this.#laggardOf(schedule);
      const writtenOffMs = this.#writtenOff.get(schedule) ?? Number.NEGATIVE_INFINITY;
      const unitThroughMs = throughOf(unit[schedule]!);
      if (laggard.throughMs < Math.max(unitThroughMs, spokenForMs[unit[schedule]!]!)) laggards.push(laggard);
      else if (writtenOffMs <= unitThroughMs) caughtUp.push(schedule);
      // What is settled for ever has no end to store.
      else laggards.push({ ...laggard, throughMs: Math.min(laggard.throughMs, writtenOffMs) });
      // A watermark is read beside its unit's feed snapshot, so both are written together.
      touched[unit[schedule]!] = 1;
    }
    const units: UnitKey[] = [];
    const throughMs: number[] = [];
    for (let index = 0; index < this.#units.size; index++) {
      if (!everyUnit && touched[index] === 0) continue;
      units.push(this.#units.keys[index]!);
      throughMs.push(throughOf(index));
    }
    return { frontierMs, units, throughMs, laggards, caughtUp };
  }

  /** The checkpoint is about to be written: what changes from now on belongs to the next one. */
  begin({ units, throughMs, laggards, caughtUp }: Checkpoint): void {
    units.forEach((key, index) => {
      const unit = this.#units.add(key);
      this.#units.touched[unit] = 0;
      this.#units.stored(unit, throughMs[index]!);
    });
    for (const schedule of [...laggards.map((laggard) => laggard.schedule), ...caughtUp]) {
      this.#dirtyLaggards.delete(schedule);
      this.#changedLaggards.delete(schedule);
    }
  }

  /** The checkpoint was written. */
  confirm({ laggards, caughtUp }: Checkpoint): void {
    for (const { schedule } of laggards) this.#unconfirmed.delete(schedule);
    for (const schedule of caughtUp) {
      if (this.#needsOwn(schedule)) {
        // Written off or changed meanwhile: it needs the row again that was just taken away.
        this.#unconfirmed.add(schedule);
        this.#changedLaggards.add(schedule);
        continue;
      }
      this.#writtenOff.delete(schedule);
      this.#setLagging(schedule, false);
    }
  }

  /** The checkpoint was not written, or nobody knows: the next one says it again, and until then nothing rests on it. */
  rollBack({ units, laggards, caughtUp }: Checkpoint): void {
    for (const key of units) this.#units.touched[this.#units.add(key)] = 1;
    for (const schedule of [...laggards.map((laggard) => laggard.schedule), ...caughtUp]) {
      this.#unconfirmed.add(schedule);
      this.#dirtyLaggards.add(schedule);
      this.#changedLaggards.add(schedule);
    }
  }

  /** Whether the stored frontiers do not say all of it that is settled, or more than that. */
  #needsOwn(schedule: number): boolean {
    const unit = this.schedules.unit[schedule]!;
    const { storedMs, spokenForMs } = this.#units;
    return (
      (this.#writtenOff.get(schedule) ?? Number.NEGATIVE_INFINITY) > storedMs[unit]! ||
      this.#laggardOf(schedule).throughMs < spokenForMs[unit]!
    );
  }

  /** @param rest what of a span that is no news is unsettled, and not handed out */
  #plan(
    schedule: number,
    { spans, unreadable, live }: ScheduleRecord,
    rest: (span: SpanBounds) => SpanRest,
    isKnown: boolean,
  ): void {
    const lastSpan = this.schedules.lastSpan[schedule]!;
    const storedMs = this.#units.storedMs[this.schedules.unit[schedule]!]!;
    let isNewsBelow = false;
    this.#hold(schedule, unreadable, rest);
    const bounds = [...spans, ...unreadable].sort((a, b) => a.span - b.span);
    const missed: MissedStretch[] = [];
    for (const span of spans) {
      if (span.state !== 'ACTIVE') continue;
      // A span that is news starts at its beginning: whatever was settled before was settled without knowing it.
      const isNews = span.span > lastSpan;
      isNewsBelow ||= isNews && span.fromMs < storedMs;
      const { ranges, sentThroughMs } = isNews
        ? {
            ranges: without(EVERYTHING, this.#takeOver(schedule, span)),
            sentThroughMs: isKnown ? this.#takenToMs : Number.NEGATIVE_INFINITY,
          }
        : rest(span);
      const stop = firstStopAfter(bounds, span);
      for (const range of ranges) {
        if (stop) {
          this.#writeOffRange(schedule, span, range, sentThroughMs, stopVerdict(stop.endReason!));
          continue;
        }
        for (const segment of segmentsOf(range, live)) {
          if (segment.live) this.#addStream(schedule, span, segment, sentThroughMs, true);
          else missed.push({ span, range: segment, sentThroughMs });
        }
      }
    }
    this.#planMissed(schedule, missed);
    const newest = bounds.at(-1);
    if (newest && newest.span > lastSpan) this.schedules.lastSpan[schedule] = newest.span;
    if (isNewsBelow && this.#needsOwn(schedule)) this.#setLagging(schedule, true);
  }

  /** What was missed is fired or written off by the catch-up policy of its revision; the newest slots are kept. */
  #planMissed(schedule: number, missed: readonly MissedStretch[]): void {
    let kept = 0;
    for (const { span, range, sentThroughMs } of missed.toReversed()) {
      const { timing } = span;
      if (timing.catchUpPolicy === 'ALL' && timing.catchUpLimit === Number.POSITIVE_INFINITY) {
        this.#addStream(schedule, span, range, sentThroughMs, false);
        continue;
      }
      if (timing.catchUpPolicy === 'NONE') {
        this.#writeOffRange(schedule, span, range, sentThroughMs, NOT_CAUGHT_UP);
        continue;
      }
      const latest = timing.catchUpPolicy === 'LATEST';
      const limit = (latest ? 1 : timing.catchUpLimit) - kept;
      const newest = newestSlots(
        timing,
        span.fromMs / 1000,
        span.toMs / 1000,
        range.after,
        range.through,
        limit,
      );
      kept += newest.count;
      const cutMs = newest.count > 0 ? dueOf(timing, newest.oldest) - 1 : range.through;
      this.#writeOffRange(
        schedule,
        span,
        { after: range.after, through: cutMs },
        sentThroughMs,
        latest ? SUPERSEDED : BEYOND_LIMIT,
      );
      this.#addStream(schedule, span, { after: cutMs, through: range.through }, sentThroughMs, false);
    }
  }

  #hold(schedule: number, unreadable: readonly SpanBounds[], rest: (span: SpanBounds) => SpanRest): void {
    const held: HeldSpan[] = [];
    for (const bounds of unreadable) {
      const { span, state, fromMs, toMs } = bounds;
      if (state !== 'ACTIVE') continue;
      const isNews = span > this.schedules.lastSpan[schedule]!;
      for (const { after, through } of isNews ? [EVERYTHING] : rest(bounds).ranges) {
        const range = { after: Math.max(after, fromMs), through: Math.min(through, toMs) };
        if (range.after < range.through) held.push({ span, range });
      }
    }
    if (held.length === 0) return;
    this.#held.set(schedule, held);
    this.#setLagging(schedule, true);
  }

  /** What of a span is handed out already, as slots of an earlier one of the same revision. */
  #takeOver(schedule: number, { revision, fromMs, toMs }: SpanRecord): DueRange[] {
    const ranges: DueRange[] = [];
    for (const item of this.#outstanding.get(schedule) ?? []) {
      if (item.revision !== revision) continue;
      if (item.kind === 'slot') {
        if (item.nominalSec * 1000 <= fromMs || item.nominalSec * 1000 > toMs) continue;
        item.spans++;
      }
      ranges.push({ after: item.dueMs - 1, through: lastDueOf(item) });
    }
    return unionOf(ranges);
  }

  /** @param sentThroughMs slots up to this nominal time may have been sent already, as an earlier span's */
  #addStream(
    schedule: number,
    span: SpanRecord,
    range: DueRange,
    sentThroughMs: number,
    live: boolean,
  ): void {
    const nominalThrough = span.toMs / 1000;
    const nominal = firstSlotAfter(span.timing, span.fromMs / 1000, range.after);
    // Infinity: it has no slot left, and an open span holds every time but that.
    if (nominal > nominalThrough || nominal === Number.POSITIVE_INFINITY) return;
    const dueMs = dueOf(span.timing, nominal);
    if (dueMs > range.through) return;
    const streams = this.#streams;
    const stream = streams.add();
    streams.schedule[stream] = schedule;
    streams.span[stream] = span.span;
    streams.revision[stream] = span.revision;
    streams.nominalThrough[stream] = nominalThrough;
    streams.dueThrough[stream] = range.through;
    streams.sentThrough[stream] = sentThroughMs;
    streams.live[stream] = live ? 1 : 0;
    streams.timing[stream] = span.timing;
    streams.nominal[stream] = nominal;
    streams.due[stream] = dueMs;
    streams.next[stream] = this.schedules.firstStream[schedule]!;
    this.schedules.firstStream[schedule] = stream;
    this.#arm(stream);
  }

  /** A stream waits for its time: in the timer queue, or at once in a ready queue if that has been passed. */
  #arm(stream: number): void {
    const dueMs = this.#streams.due[stream]!;
    if (dueMs <= this.#nowMs) this.#makeReady(stream);
    else this.#timers.upsert(stream, dueMs);
  }

  #makeReady(stream: number): void {
    const streams = this.#streams;
    const schedule = streams.schedule[stream]!;
    streams.ready[stream] = IN_QUEUE;
    const queue = streams.live[stream] === 1 ? this.#liveReady : this.#backlogReady;
    queue.push(this.schedules.project[schedule]!, stream);
    if (this.schedules.lagging[schedule] === 0) this.#overdue.upsert(stream, streams.due[stream]!);
  }

  /**
   * Whether a slot of the stream may go now, of a schedule whose overlap policy has one slot in flight: no other is, and none that is
   * due goes before it, by due time, then nominal time.
   */
  #isNext(stream: number): boolean {
    const { schedule: schedules, next, due, nominal } = this.#streams;
    const schedule = schedules[stream]!;
    for (const item of this.#outstanding.get(schedule) ?? []) if (item.kind === 'slot') return false;
    for (let other = this.schedules.firstStream[schedule]!; other !== NO_STREAM; other = next[other]!) {
      if (due[other]! < due[stream]!) return false;
      if (due[other] === due[stream] && nominal[other]! < nominal[stream]!) return false;
    }
    return true;
  }

  /** Puts a stream aside until a slot of its schedule is settled. */
  #park(stream: number): void {
    const schedule = this.#streams.schedule[stream]!;
    this.#streams.ready[stream] = PARKED;
    const parked = this.#parked.get(schedule);
    if (parked) parked.push(stream);
    else this.#parked.set(schedule, [stream]);
  }

  #unpark(schedule: number): void {
    const parked = this.#parked.get(schedule);
    if (!parked) return;
    this.#parked.delete(schedule);
    for (const stream of parked) this.#makeReady(stream);
  }

  /** Takes the stream's next slot and moves the stream on. */
  #handOut(stream: number, nowMs: number): Slot | undefined {
    const streams = this.#streams;
    this.#overdue.remove(stream);
    const schedule = streams.schedule[stream]!;
    const timing = streams.timing[stream]!;
    const dueMs = streams.due[stream]!;
    const nominalSec = streams.nominal[stream]!;
    const revision = streams.revision[stream]!;
    const id = this.schedules.id[schedule]!;
    const sentThroughMs = streams.sentThrough[stream]!;
    // Slots fall due at whole milliseconds.
    const horizonMs = Math.ceil(nowMs - timing.catchUpWindowMs);
    if (dueMs < horizonMs) {
      const lastDueMs = Math.min(horizonMs - 1, streams.dueThrough[stream]!);
      const writeOff: WriteOff = {
        kind: 'write-off',
        span: streams.span[stream]!,
        schedule,
        id,
        revision,
        timing,
        nominalSec,
        lastNominalSec: streams.nominalThrough[stream]!,
        dueMs,
        lastDueMs,
        verdict: BEYOND_WINDOW,
        notAfterMs: 0,
        sentThroughMs,
      };
      this.#add(writeOff);
      this.#moveOn(stream, firstSlotAfter(timing, nominalSec, lastDueMs));
      this.#unpark(schedule);
      this.#events.writeOff(writeOff);
      return undefined;
    }
    const slot: Slot = {
      kind: 'slot',
      schedule,
      id,
      revision,
      nominalSec,
      dueMs,
      timing,
      live: streams.live[stream] === 1,
      maybeSentBefore: nominalSec * 1000 <= sentThroughMs,
      spans: 1,
      attempts: 0,
      firedAtMs: 0,
      notAfterMs: 0,
      batchLimit: Number.POSITIVE_INFINITY,
    };
    this.#add(slot);
    this.#moveOn(stream, timing.recurrence.next(nominalSec));
    return slot;
  }

  #moveOn(stream: number, nominal: number): void {
    const streams = this.#streams;
    if (nominal <= streams.nominalThrough[stream]! && nominal !== Number.POSITIVE_INFINITY) {
      const dueMs = dueOf(streams.timing[stream]!, nominal);
      if (dueMs <= streams.dueThrough[stream]!) {
        streams.nominal[stream] = nominal;
        streams.due[stream] = dueMs;
        this.#arm(stream);
        return;
      }
    }
    this.#unlink(stream);
    streams.free(stream);
  }

  #unlink(stream: number): void {
    const { firstStream } = this.schedules;
    const { next, schedule: schedules } = this.#streams;
    const schedule = schedules[stream]!;
    let previous = firstStream[schedule]!;
    if (previous === stream) {
      firstStream[schedule] = next[stream]!;
      return;
    }
    while (next[previous] !== stream) previous = next[previous]!;
    next[previous] = next[stream]!;
  }

  #dropStreams(schedule: number): void {
    const streams = this.#streams;
    let stream = this.schedules.firstStream[schedule]!;
    this.schedules.firstStream[schedule] = NO_STREAM;
    this.#parked.delete(schedule);
    while (stream !== NO_STREAM) {
      const next = streams.next[stream]!;
      this.#overdue.remove(stream);
      if (streams.ready[stream] === IN_QUEUE) streams.dropped[stream] = 1;
      else {
        this.#timers.remove(stream);
        streams.free(stream);
      }
      stream = next;
    }
  }

  /** Takes back what was to be written off as planned. */
  #withdraw(schedule: number): void {
    for (const item of [...(this.#outstanding.get(schedule) ?? [])]) {
      if (item.kind === 'write-off' && item.span !== undefined) this.#remove(item);
    }
  }

  /** What the schedule's streams still have to hand out, what is held, and what is to be written off as planned. */
  #unsettledOf(schedule: number): DueRange[] {
    return unionOf([...this.#restsOf(schedule).values()].flatMap(({ ranges }) => ranges));
  }

  /** The same by span: what falls due at one time may be settled of one span, and not of another. */
  #restsOf(schedule: number): Map<number, SpanRest> {
    const rests = new Map<number, SpanRest>();
    const add = (span: number, range: DueRange, sentThroughMs: number): void => {
      const rest = rests.get(span);
      rests.set(span, {
        ranges: unionOf([...(rest?.ranges ?? []), range]),
        sentThroughMs: Math.max(rest?.sentThroughMs ?? Number.NEGATIVE_INFINITY, sentThroughMs),
      });
    };
    for (const { span, range } of this.#held.get(schedule) ?? []) add(span, range, Number.NEGATIVE_INFINITY);
    for (const item of this.#outstanding.get(schedule) ?? []) {
      if (item.kind === 'write-off' && item.span !== undefined)
        add(item.span, { after: item.dueMs - 1, through: lastDueOf(item) }, item.sentThroughMs);
    }
    const { next, span, due, sentThrough } = this.#streams;
    for (let stream = this.schedules.firstStream[schedule]!; stream !== NO_STREAM; stream = next[stream]!) {
      add(span[stream]!, { after: due[stream]! - 1, through: this.#lastDueOf(stream) }, sentThrough[stream]!);
    }
    return rests;
  }

  /** When the last slot of a stream falls due; Infinity if it has no end. */
  #lastDueOf(stream: number): number {
    const { timing, nominal, nominalThrough, dueThrough } = this.#streams;
    if (nominalThrough[stream] === Number.POSITIVE_INFINITY) return dueThrough[stream]!;
    return lastDueWithin(timing[stream]!, nominal[stream]!, nominalThrough[stream]!, dueThrough[stream]!);
  }

  #writeOffRange(
    schedule: number,
    span: SpanRecord,
    range: DueRange,
    sentThroughMs: number,
    verdict: Verdict,
  ): void {
    const nominal = firstSlotAfter(span.timing, span.fromMs / 1000, range.after);
    if (nominal > span.toMs / 1000 || nominal === Number.POSITIVE_INFINITY) return;
    const dueMs = dueOf(span.timing, nominal);
    if (dueMs > range.through) return;
    const writeOff: WriteOff = {
      kind: 'write-off',
      span: span.span,
      schedule,
      id: this.schedules.id[schedule]!,
      revision: span.revision,
      timing: span.timing,
      nominalSec: nominal,
      lastNominalSec: span.toMs / 1000,
      dueMs,
      lastDueMs: range.through,
      verdict,
      notAfterMs: 0,
      sentThroughMs,
    };
    this.#add(writeOff);
    this.#events.writeOff(writeOff);
  }

  #add(item: Outstanding): void {
    let items = this.#outstanding.get(item.schedule);
    if (!items) {
      items = new Set();
      this.#outstanding.set(item.schedule, items);
    }
    items.add(item);
    this.#outstandingCount++;
    if (this.schedules.lagging[item.schedule] === 1) this.#dirtyLaggards.add(item.schedule);
  }

  #remove(item: Outstanding): void {
    const items = this.#outstanding.get(item.schedule);
    if (!items?.delete(item)) throw new Error('settled what was not outstanding');
    if (items.size === 0) this.#outstanding.delete(item.schedule);
    this.#outstandingCount--;
  }

  /** Gives schedules that hold the frontier back a watermark of their own, the worst first. */
  #electLaggards(nowMs: number): void {
    const beforeMs = nowMs - LAGGARD_AFTER_MS;
    let elected = 0;
    for (const [schedule, items] of this.#outstanding) {
      if (elected >= LAGGARDS_PER_CHECKPOINT) return;
      if (this.schedules.lagging[schedule] === 1) continue;
      for (const item of items) {
        if (item.dueMs >= beforeMs) continue;
        this.#setLagging(schedule, true);
        elected++;
        break;
      }
    }
    while (elected < LAGGARDS_PER_CHECKPOINT && this.#overdue.peekDue() < beforeMs) {
      if (this.#overdue.popDue(beforeMs - 1, 1, this.#due) === 0) return;
      this.#setLagging(this.#streams.schedule[this.#due[0]!]!, true);
      elected++;
    }
  }

  #setLagging(schedule: number, lagging: boolean): void {
    if ((this.schedules.lagging[schedule] === 1) === lagging) return;
    this.schedules.lagging[schedule] = lagging ? 1 : 0;
    this.#laggardCount += lagging ? 1 : -1;
    if (lagging) {
      this.#dirtyLaggards.add(schedule);
      this.#unconfirmed.add(schedule);
    } else {
      this.#dirtyLaggards.delete(schedule);
      this.#changedLaggards.delete(schedule);
      this.#unconfirmed.delete(schedule);
    }
    const { next, ready, due } = this.#streams;
    for (let stream = this.schedules.firstStream[schedule]!; stream !== NO_STREAM; stream = next[stream]!) {
      if (ready[stream] === 0) continue;
      if (lagging) this.#overdue.remove(stream);
      else this.#overdue.upsert(stream, due[stream]!);
    }
  }

  /** The schedule's watermark, and what is settled above it. */
  #laggardOf(schedule: number): Laggard {
    const unsettled = this.#unsettledOf(schedule);
    for (const item of this.#outstanding.get(schedule) ?? []) {
      unsettled.push({ after: item.dueMs - 1, through: lastDueOf(item) });
    }
    const union = unionOf(unsettled);
    const first = union[0];
    // Nothing is left to settle: it has caught up with whatever the frontier is.
    if (!first) return { schedule, throughMs: Number.POSITIVE_INFINITY, settledAbove: [] };
    const writtenOffMs = this.#writtenOff.get(schedule) ?? Number.NEGATIVE_INFINITY;
    const through = Math.max(union.at(-1)!.through, writtenOffMs);
    return {
      schedule,
      throughMs: first.after,
      settledAbove: without({ after: first.after, through }, union).filter(
        (range) => range.through !== Number.POSITIVE_INFINITY,
      ),
    };
  }
}

/** What of a span is unsettled, and not handed out. */
interface SpanRest {
  readonly ranges: readonly DueRange[];
  /** Slots up to this nominal time may have been sent already, as an earlier span's. */
  readonly sentThroughMs: number;
}

const NO_REST: SpanRest = { ranges: [], sentThroughMs: Number.NEGATIVE_INFINITY };

/** A stretch of a span that cannot be read. */
interface HeldSpan {
  readonly span: number;
  readonly range: DueRange;
}

const EVERYTHING: DueRange = { after: Number.NEGATIVE_INFINITY, through: Number.POSITIVE_INFINITY };

const BEYOND_WINDOW: Verdict = {
  outcome: 'MISSED',
  reason: 'BEYOND_WINDOW',
  message: 'it was later than the catch-up window allows',
};

const NOT_CAUGHT_UP: Verdict = {
  outcome: 'MISSED',
  reason: 'CATCH_UP_NONE',
  message: 'no scheduler led when it fell due, and its schedule catches nothing up',
};

const SUPERSEDED: Verdict = {
  outcome: 'MISSED',
  reason: 'SUPERSEDED',
  message: 'no scheduler led when it fell due, and its schedule catches up the newest slot alone',
};

const BEYOND_LIMIT: Verdict = {
  outcome: 'MISSED',
  reason: 'BEYOND_LIMIT',
  message: 'more slots were missed than its schedule catches up',
};

/** Slots of a span that fell due while no scheduler led. */
interface MissedStretch {
  readonly span: SpanRecord;
  readonly range: DueRange;
  /** Slots up to this nominal time may have been sent already, as an earlier span's. */
  readonly sentThroughMs: number;
}
type StopReason = 'PAUSED' | 'DEACTIVATED' | 'DELETED';

/** The stop by which the unsettled slots of a span are skipped: its own end, or the first later one that is a stop. */
function firstStopAfter(spans: readonly SpanBounds[], span: SpanBounds): SpanBounds | undefined {
  return spans.find((other) => other.span >= span.span && isStop(other.endReason));
}

function isStop(reason: SpanBounds['endReason']): reason is StopReason {
  return reason === 'PAUSED' || reason === 'DEACTIVATED' || reason === 'DELETED';
}

/** The verdict on slots that a stop came before. */
export function stopVerdict(reason: string): Verdict {
  return {
    outcome: 'SKIPPED',
    reason,
    message: `the schedule was ${reason.toLowerCase()} before the slot was sent`,
  };
}
