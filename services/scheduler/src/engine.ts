import type { UnitKey } from '@carillon/core/assignment.ts';
import { type DueRange, unionOf, without } from '@carillon/core/due-ranges.ts';
import { segmentsOf } from '@carillon/core/live-terms.ts';
import { Checkpoints, type Laggard, type Refusal } from './checkpoints.ts';
import { type HeldSpan, HeldSpans, isExpired } from './held-spans.ts';
import { type MissedStretch, planMissed } from './missed-slots.ts';
import { OutstandingItems } from './outstanding-items.ts';
import { QuarantineTimes } from './quarantine-times.ts';
import type { ScheduleRecord, SpanBounds, SpanRecord, UnreadableSpan } from './schedule-record.ts';
import { ScheduleTable } from './schedule-table.ts';
import { lastDueOf, type Outstanding, type Slot, type Verdict, type WriteOff } from './slot.ts';
import { StreamQueues } from './stream-queues.ts';
import { dueOf, firstSlotAfter, isExclusive } from './timing.ts';
import { UnitTable } from './unit-table.ts';
import { BEYOND_WINDOW, firstStopAfter, stopVerdict, UNREADABLE } from './verdicts.ts';

/** What the engine tells its owner. */
export interface EngineEvents {
  /** Slots are to be settled without a run. */
  writeOff(writeOff: WriteOff): void;
  /** Nothing is left to settle of what cannot be read of a schedule. Default: nobody is told. */
  cleared?(id: number): void;
}

/**
 * All schedules in memory, and which of their slots are due. It plans and never acts: whoever drives it advances it to the
 * present, takes slots from it, and tells it what is settled.
 */
export class Engine {
  readonly schedules = new ScheduleTable();
  /** The units of ownership that are known, and how far each is stored. */
  readonly #units: UnitTable;
  readonly #streams = new StreamQueues(this.schedules);
  readonly #outstanding = new OutstandingItems();
  readonly #held = new HeldSpans();
  readonly #quarantines = new QuarantineTimes();
  /** By id: schedules that are not in memory, and that the database refuses rows of. */
  readonly #refusedStrangers = new Set<number>();
  /** Schedules whose slots cannot be sent, because nobody can read what is to be run: they hand out nothing more until they change. Since when. */
  readonly #suspended = new Map<number, number>();
  /** How far all of it is settled, and what of that is to be written down. */
  readonly checkpoints: Checkpoints;
  #events: EngineEvents;
  /** The latest that slots were taken: a clock that goes on by a leap hands out what was never advanced to. */
  #takenToMs = Number.NEGATIVE_INFINITY;

  /** @param units those that are known without a schedule in them: their frontiers move too */
  constructor(units: Iterable<UnitKey>, events: EngineEvents) {
    this.#units = new UnitTable(units);
    this.#events = events;
    this.checkpoints = new Checkpoints({
      schedules: this.schedules,
      units: this.#units,
      streams: this.#streams,
      outstanding: this.#outstanding,
      unsettledOf: (schedule) => this.#unsettledOf(schedule),
      isHeld: (schedule) => this.#held.has(schedule),
    });
  }

  /** Tells another owner from now on. */
  serve(events: EngineEvents): void {
    this.#events = events;
  }

  /** How many streams wait, of slots that are due. */
  get readySize(): number {
    return this.#streams.readySize;
  }

  /** How many of them are of live slots. */
  get liveReadySize(): number {
    return this.#streams.liveReadySize;
  }

  /** How many slots are handed out, and not settled nor written off. */
  get outstandingSlots(): number {
    return this.#outstanding.slots;
  }

  /** How many slots and write-offs are handed out and not settled. */
  get outstandingSize(): number {
    return this.#outstanding.size;
  }

  get streamSize(): number {
    return this.#streams.table.size;
  }

  get quarantinedSize(): number {
    return this.#held.size + this.checkpoints.refusedSize + this.#suspended.size;
  }

  /**
   * About how many missed slots wait: each stretch divided by the gap after its next slot. It looks at every stream, so it is for
   * people, every few seconds.
   */
  backlogSize(): number {
    const { used, timing, live, dropped, nominal, due, dueThrough, nominalThrough } = this.#streams.table;
    let slots = 0;
    for (let stream = 0; stream < used; stream++) {
      const recurrence = timing[stream]?.recurrence;
      if (!recurrence || live[stream] === 1 || dropped[stream] === 1) continue;
      const gapMs = (recurrence.next(nominal[stream]!) - nominal[stream]!) * 1000;
      const throughMs = Math.min(
        dueThrough[stream]!,
        nominalThrough[stream]! * 1000,
        this.#streams.advancedToMs,
      );
      slots += 1 + Math.max(0, Math.floor((throughMs - due[stream]!) / gapMs));
    }
    return slots;
  }

  /** When the next slot falls due that does not wait yet: epoch milliseconds, or Infinity. */
  get nextDueMs(): number {
    return this.#streams.nextDueMs;
  }

  /** When the first slot falls due that schedule `id` has not handed out; Infinity if it has none, or is not known. */
  unsettledSinceMs(id: number): number {
    const schedule = this.schedules.find(id);
    if (schedule === undefined) return Number.POSITIVE_INFINITY;
    const refusal = this.checkpoints.refusalOf(schedule);
    if (refusal) return refusal.throughMs;
    const unsettled = this.#unsettledOf(schedule);
    return unsettled[0]?.after ?? Number.POSITIVE_INFINITY;
  }

  /** Goes on from the stored frontiers of an earlier engine, by unit. */
  resume(frontiers: ReadonlyMap<UnitKey, number>): void {
    for (const [key, throughMs] of frontiers) {
      this.#units.stored(this.#units.add(key), throughMs);
      this.#streams.resume(throughMs);
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
    let refusal: Refusal | undefined;
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
        this.checkpoints.hasOwn(schedule, settledAbove.at(-1)?.through ?? throughMs);
      }
      schedules.lastSpan[schedule] = record.seenSpan;
    } else {
      if (record.generation <= schedules.generation[schedule]!) return;
      const rests = this.#restsOf(schedule);
      rest = ({ span }) => rests.get(span) ?? NO_REST;
      refusal = this.checkpoints.refusalOf(schedule);
      if (refusal) rest = this.#restAfter(refusal);
      this.checkpoints.resume(schedule);
      this.#release(schedule);
      this.#streams.drop(schedule);
      this.#withdraw(schedule);
    }
    schedules.generation[schedule] = record.generation;
    schedules.uidBits[schedule] = record.uidBits;
    schedules.payloadBytes[schedule] = record.payloadBytes;
    this.#refusedStrangers.delete(record.id);
    const suspendedSinceMs = this.#suspended.get(schedule);
    if (suspendedSinceMs !== undefined)
      this.#wasQuarantined(schedule, suspendedSinceMs, Number.POSITIVE_INFINITY);
    this.#suspended.delete(schedule);
    this.#plan(schedule, record, rest, isKnown, refusal);
    this.checkpoints.changed(schedule);
  }

  /**
   * Adds the ids of schedules that have a slot due by `nowMs`, or anything else than slots to come: what is stored of these may say more
   * by now than is known here. For an engine that nobody drives; each slot is told of once.
   */
  overtaken(nowMs: number, ids: Set<number>): void {
    const { id, lagging } = this.schedules;
    for (const schedule of this.#streams.popDue(nowMs)) ids.add(id[schedule]!);
    for (const [schedule] of this.#outstanding.entries()) ids.add(id[schedule]!);
    for (const schedule of this.schedules.handles()) if (lagging[schedule] === 1) ids.add(id[schedule]!);
  }

  /** Forgets a schedule, and what was to be done about it, as if it had never been applied. */
  forget(id: number): void {
    const schedule = this.schedules.find(id);
    if (schedule === undefined) return;
    this.#held.release(schedule);
    this.#suspended.delete(schedule);
    this.#streams.drop(schedule);
    for (const item of [...this.#outstanding.of(schedule)]) this.#outstanding.remove(item);
    this.checkpoints.forget(schedule);
    this.#quarantines.forget(schedule);
    this.schedules.remove(schedule);
  }

  /** Moves streams whose slot is due by `nowMs` to the ready queues; true if more are left for another turn. */
  advance(nowMs: number): boolean {
    const more = this.#streams.advance(nowMs);
    for (const schedule of this.#held.advance(nowMs)) this.#giveUpExpired(schedule, nowMs);
    return more;
  }

  /**
   * Hands out up to `limit` slots that are due: live ones first, then missed ones, in turn between projects. Slots that exceed their
   * catch-up window are written off instead.
   *
   * @param backlogLimit how many of them may be missed ones
   * @param byteLimit about how large their payloads may be together; the first slot is handed out whatever its size
   * @param isHeld tells which projects, by number, are passed over. Default: none
   */
  take(
    limit: number,
    backlogLimit: number,
    byteLimit: number,
    nowMs: number,
    isHeld?: (project: number) => boolean,
  ): Slot[] {
    this.#takenToMs = Math.max(this.#takenToMs, nowMs);
    const streams = this.#streams;
    const slots: Slot[] = [];
    let bytes = 0;
    let backlog = 0;
    while (slots.length < limit) {
      let stream = streams.shift(true, nowMs, isHeld);
      const fromLive = stream !== undefined;
      if (!fromLive && backlog < backlogLimit) stream = streams.shift(false, nowMs, isHeld);
      if (stream === undefined) break;
      const schedule = streams.table.schedule[stream]!;
      const isBarred = isExclusive(streams.table.timing[stream]!) && !this.#isNext(stream);
      if (isBarred || this.#suspended.has(schedule)) {
        streams.park(stream);
        continue;
      }
      const size = this.schedules.payloadBytes[schedule]!;
      if (slots.length > 0 && bytes + size > byteLimit) {
        streams.putBack(stream);
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
    return this.#outstanding.has(item);
  }

  /** Replaces an outstanding slot by its write-off. */
  writeOff(slot: Slot, writeOff: WriteOff): void {
    this.#outstanding.remove(slot);
    this.#streams.unpark(slot.schedule);
    this.#add(writeOff);
    this.#events.writeOff(writeOff);
  }

  /**
   * The slot, or all slots of the write-off, have their outcome.
   *
   * @param isTold whether a ledger row tells it. Default: of a write-off
   */
  settle(item: Outstanding, isTold = item.kind === 'write-off'): void {
    this.#outstanding.remove(item);
    this.#streams.unpark(item.schedule);
    this.checkpoints.settled(item, isTold);
    if (item.kind === 'write-off' && item.timing === undefined && !this.hasUnread(item.id))
      this.#events.cleared?.(item.id);
  }

  /** Whether the schedule with this id has anything to settle that cannot be read. */
  hasUnread(id: number): boolean {
    const schedule = this.schedules.find(id);
    if (schedule === undefined) return false;
    if (this.#held.has(schedule)) return true;
    for (const item of this.#outstanding.of(schedule))
      if (item.kind === 'write-off' && item.timing === undefined) return true;
    return false;
  }

  /** A slot of a schedule cannot be sent, because nobody can read what is to be run: until it changes, it hands out nothing more. */
  suspend(schedule: number): void {
    if (!this.#suspended.has(schedule)) this.#suspended.set(schedule, this.#streams.advancedToMs);
  }

  /** A slot of a schedule could be sent after all. True: it was suspended. */
  unsuspend(schedule: number): boolean {
    if (!this.#suspended.delete(schedule)) return false;
    this.#streams.unpark(schedule);
    return true;
  }

  /** Whether the slots of the schedule with this id cannot be sent. */
  isSuspended(id: number): boolean {
    const schedule = this.schedules.find(id);
    return schedule !== undefined && this.#suspended.has(schedule);
  }

  /** Whether the database refuses rows of the schedule with this id. */
  isRefused(id: number): boolean {
    const schedule = this.schedules.find(id);
    if (schedule === undefined) return this.#refusedStrangers.has(id);
    return this.checkpoints.refusalOf(schedule) !== undefined;
  }

  /**
   * The database refuses rows of a schedule: until it changes, what is stored of it stands, and it hands out nothing. False: that is known
   * already.
   *
   * @param hasOwn whether what is stored stands in a row of its own
   */
  refuse(id: number, stored: Pick<Laggard, 'throughMs' | 'settledAbove'>, hasOwn: boolean): boolean {
    if (this.isRefused(id)) return false;
    const schedule = this.schedules.find(id);
    if (schedule === undefined) {
      this.#refusedStrangers.add(id);
      return true;
    }
    this.checkpoints.refuse(schedule, stored, hasOwn);
    this.#release(schedule);
    this.#streams.drop(schedule);
    this.#withdraw(schedule);
    return true;
  }

  /** Whether slots from the first to the last nominal time are handed out, and not settled. */
  hasSlotsWithin(schedule: number, firstNominalSec: number, lastNominalSec: number): boolean {
    for (const item of this.#outstanding.of(schedule)) {
      if (item.kind === 'slot' && item.nominalSec >= firstNominalSec && item.nominalSec <= lastNominalSec)
        return true;
    }
    return false;
  }

  /** @param rest what of a span that is no news is unsettled, and not handed out */
  #plan(
    schedule: number,
    { spans, unreadable, live, quarantined }: ScheduleRecord,
    rest: (span: SpanBounds) => SpanRest,
    isKnown: boolean,
    refusal: Refusal | undefined,
  ): void {
    const lastSpan = this.schedules.lastSpan[schedule]!;
    const storedMs = this.#units.storedMs[this.schedules.unit[schedule]!]!;
    let isBelow = false;
    if (refusal) this.#wasQuarantined(schedule, refusal.sinceMs, Number.POSITIVE_INFINITY);
    const liveOf = ({ span }: SpanRecord): readonly DueRange[] =>
      this.#quarantines.liveOf(schedule, span, live, quarantined);
    const bounds = [...spans, ...unreadable].sort((a, b) => a.span - b.span);
    this.#hold(schedule, unreadable, bounds, rest, isKnown);
    const missed: MissedStretch[] = [];
    const unstopped: SpanRecord[] = [];
    for (const span of spans) {
      if (span.state !== 'ACTIVE') continue;
      // A span that is news starts at its beginning: whatever was settled before was settled without knowing it.
      const isNews = span.span > lastSpan;
      // Under an earlier assignment it may have been in a unit that had not come as far as this one.
      isBelow ||= isNews ? span.fromMs < storedMs : !isKnown && span.settledMs < storedMs;
      const { ranges, sentThroughMs } = isNews
        ? {
            ranges: without(EVERYTHING, this.#takeOver(schedule, span)),
            sentThroughMs: isKnown ? this.#takenToMs : Number.NEGATIVE_INFINITY,
          }
        : refusal
          ? restWithout(rest(span), this.#takeOver(schedule, span))
          : rest(span);
      const stop = firstStopAfter(bounds, span);
      if (!stop) unstopped.push(span);
      for (const range of ranges) {
        if (stop) {
          this.#writeOffRange(schedule, span, range, sentThroughMs, stopVerdict(stop.endReason!));
          continue;
        }
        for (const segment of segmentsOf(range, liveOf(span))) {
          if (segment.live) this.#addStream(schedule, span, segment, sentThroughMs, true);
          else missed.push({ span, range: segment, sentThroughMs });
        }
      }
    }
    for (const { span, range, sentThroughMs, verdict } of planMissed(unstopped, missed, liveOf)) {
      if (verdict) this.#writeOffRange(schedule, span, range, sentThroughMs, verdict);
      else this.#addStream(schedule, span, range, sentThroughMs, false);
    }
    const newest = bounds.at(-1);
    if (newest && newest.span > lastSpan) this.schedules.lastSpan[schedule] = newest.span;
    if (isBelow && this.checkpoints.needsOwn(schedule)) this.checkpoints.lag(schedule);
  }

  /** Until now, and since then. */
  #wasQuarantined(schedule: number, sinceMs: number, throughSpan: number): void {
    this.#quarantines.add(schedule, { after: sinceMs, through: this.#streams.advancedToMs, throughSpan });
  }

  /** What was held is planned anew. */
  #release(schedule: number): void {
    const held = this.#held.release(schedule);
    if (held?.sinceMs !== undefined)
      this.#wasQuarantined(schedule, held.sinceMs, held.spans.at(-1)!.span.span);
  }

  /** A schedule that was refused starts where it is stored, as if it had just been loaded; but what has fallen due may have been sent. */
  #restAfter({ throughMs, settledAbove }: Refusal): () => SpanRest {
    const ranges = without({ after: throughMs, through: Number.POSITIVE_INFINITY }, settledAbove);
    const sentThroughMs = this.#takenToMs;
    return () => ({ ranges, sentThroughMs });
  }

  #hold(
    schedule: number,
    unreadable: readonly UnreadableSpan[],
    bounds: readonly SpanBounds[],
    rest: (span: SpanBounds) => SpanRest,
    isKnown: boolean,
  ): void {
    const held: HeldSpan[] = [];
    for (const span of unreadable) {
      const { state, fromMs, toMs, jitterMs } = span;
      if (state !== 'ACTIVE') continue;
      const isNews = span.span > this.schedules.lastSpan[schedule]!;
      const stop = firstStopAfter(bounds, span);
      for (const { after, through } of isNews ? [EVERYTHING] : rest(span).ranges) {
        const range = { after: Math.max(after, fromMs), through: Math.min(through, toMs + jitterMs) };
        if (range.after >= range.through) continue;
        if (stop) this.#giveUpUnread(schedule, span, range, stopVerdict(stop.endReason!));
        else held.push({ span, range });
      }
    }
    if (held.length === 0) return;
    this.#held.hold(schedule, held, isKnown ? this.#streams.advancedToMs : undefined);
    this.checkpoints.lag(schedule);
  }

  /** Gives up what is held of a schedule and could not fire any more if it were read. */
  #giveUpExpired(schedule: number, nowMs: number): void {
    const spans = this.#held.of(schedule);
    this.#release(schedule);
    const rest = spans.filter((each) => !isExpired(each, nowMs));
    if (rest.length > 0) this.#held.hold(schedule, rest, nowMs);
    for (const { span, range } of spans.filter((each) => isExpired(each, nowMs)))
      this.#giveUpUnread(schedule, span, range, UNREADABLE);
  }

  /** Settles a stretch of a span without knowing its slots. */
  #giveUpUnread(schedule: number, span: UnreadableSpan, range: DueRange, verdict: Verdict): void {
    const nominalSec = Math.floor(Math.max(span.fromMs, range.after - span.jitterMs) / 1000) + 1;
    const lastNominalSec = Math.floor(Math.min(span.toMs, range.through) / 1000);
    if (nominalSec > lastNominalSec) return;
    const writeOff: WriteOff = {
      kind: 'write-off',
      span: span.span,
      schedule,
      id: this.schedules.id[schedule]!,
      revision: span.revision,
      timing: undefined,
      nominalSec,
      lastNominalSec,
      dueMs: range.after + 1,
      lastDueMs: range.through,
      verdict,
      notAfterMs: 0,
      // Nobody knows which of them were.
      sentThroughMs: this.#takenToMs,
    };
    this.checkpoints.lag(schedule);
    this.#add(writeOff);
    this.#events.writeOff(writeOff);
  }

  /** What of a span is handed out already, as slots of an earlier one of the same revision. */
  #takeOver(schedule: number, { revision, fromMs, toMs }: SpanRecord): DueRange[] {
    const ranges: DueRange[] = [];
    for (const item of this.#outstanding.of(schedule)) {
      if (item.revision !== revision) continue;
      if (item.kind === 'slot') {
        if (item.nominalSec * 1000 <= fromMs || item.nominalSec * 1000 > toMs) continue;
        item.spans++;
        // What an unreadable span held is its own alone.
      } else if (item.timing === undefined) continue;
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
    this.#streams.add({
      schedule,
      span: span.span,
      revision: span.revision,
      timing: span.timing,
      nominalSec: nominal,
      dueMs,
      nominalThroughSec: nominalThrough,
      dueThroughMs: range.through,
      sentThroughMs,
      live,
    });
  }

  /**
   * Whether a slot of the stream may go now, of a schedule whose overlap policy has one slot in flight: no other is, and none that is
   * due goes before it, by due time, then nominal time.
   */
  #isNext(stream: number): boolean {
    for (const item of this.#outstanding.of(this.#streams.table.schedule[stream]!))
      if (item.kind === 'slot') return false;
    return this.#streams.isFirst(stream);
  }

  /** Takes the stream's next slot and moves the stream on. */
  #handOut(stream: number, nowMs: number): Slot | undefined {
    const streams = this.#streams.table;
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
      this.#streams.moveOn(stream, firstSlotAfter(timing, nominalSec, lastDueMs));
      this.#streams.unpark(schedule);
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
    this.#streams.moveOn(stream, timing.recurrence.next(nominalSec));
    return slot;
  }

  /** Takes back what was to be written off as planned. */
  #withdraw(schedule: number): void {
    for (const item of [...this.#outstanding.of(schedule)]) {
      if (item.kind === 'write-off' && item.span !== undefined) this.#outstanding.remove(item);
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
    for (const { span, range } of this.#held.of(schedule)) add(span.span, range, Number.NEGATIVE_INFINITY);
    for (const item of this.#outstanding.of(schedule)) {
      if (item.kind === 'write-off' && item.span !== undefined)
        add(item.span, { after: item.dueMs - 1, through: lastDueOf(item) }, item.sentThroughMs);
    }
    const { span, due, sentThrough } = this.#streams.table;
    for (const stream of this.#streams.of(schedule)) {
      const range = { after: due[stream]! - 1, through: this.#streams.lastDueOf(stream) };
      add(span[stream]!, range, sentThrough[stream]!);
    }
    return rests;
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
    this.#outstanding.add(item);
    this.checkpoints.moved(item.schedule);
  }
}

/** What of a span is unsettled, and not handed out. */
interface SpanRest {
  readonly ranges: readonly DueRange[];
  /** Slots up to this nominal time may have been sent already, as an earlier span's. */
  readonly sentThroughMs: number;
}

const NO_REST: SpanRest = { ranges: [], sentThroughMs: Number.NEGATIVE_INFINITY };

/** The rest of a span, without what is handed out. */
function restWithout({ ranges, sentThroughMs }: SpanRest, handedOut: readonly DueRange[]): SpanRest {
  return { ranges: ranges.flatMap((range) => without(range, handedOut)), sentThroughMs };
}

const EVERYTHING: DueRange = { after: Number.NEGATIVE_INFINITY, through: Number.POSITIVE_INFINITY };
