import { TimerQueue } from '@carillon/core/timer-queue.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { ScheduleTable } from './schedule-table.ts';
import { lastDueWithin } from './slot.ts';
import { NO_STREAM, StreamTable } from './stream-table.ts';
import { dueOf, type Timing } from './timing.ts';

/** How many due streams are moved at one go: about a millisecond's work. */
const POPS_PER_TURN = 4_096;

/** What `ready` says of a stream: it waits in a ready queue; it is put aside. */
const IN_QUEUE = 1;
const PARKED = 2;

/** A stream to be: a stretch of a span's slots. */
export interface NewStream {
  /** The schedule's handle. */
  readonly schedule: number;
  readonly span: number;
  readonly revision: number;
  readonly timing: Timing;
  /** Its first slot. */
  readonly nominalSec: number;
  readonly dueMs: number;
  /** No slot's nominal time lies after the one, or falls due after the other. */
  readonly nominalThroughSec: number;
  readonly dueThroughMs: number;
  /** Slots up to this nominal time, in milliseconds, may have been sent already, as an earlier span's. */
  readonly sentThroughMs: number;
  readonly live: boolean;
}

/** The streams in memory, and where each of them waits: for its time, to be taken, or put aside. */
export class StreamQueues {
  readonly table = new StreamTable();
  readonly #schedules: ScheduleTable;
  readonly #timers = new TimerQueue();
  /** Streams of schedules without a watermark of their own that wait to be taken: they hold the frontier. */
  readonly #overdue = new TimerQueue();
  readonly #live = new ReadyQueue();
  readonly #backlog = new ReadyQueue();
  /** Streams by schedule that wait for another slot of theirs to be settled. */
  readonly #parked = new Map<number, number[]>();
  readonly #due = new Uint32Array(POPS_PER_TURN);
  /** The database's clock, which may be set back, and the latest that it has said. */
  #nowMs = Number.NEGATIVE_INFINITY;
  #advancedToMs = Number.NEGATIVE_INFINITY;

  constructor(schedules: ScheduleTable) {
    this.#schedules = schedules;
  }

  /** How many wait to be taken. */
  get readySize(): number {
    return this.#live.size + this.#backlog.size;
  }

  /** How many of them are of live slots. */
  get liveReadySize(): number {
    return this.#live.size;
  }

  /** When the next slot falls due that does not wait to be taken: epoch milliseconds, or Infinity. */
  get nextDueMs(): number {
    return this.#timers.peekDue();
  }

  /** When the first slot fell due that holds the frontier; Infinity: none does. */
  get firstOverdueMs(): number {
    return this.#overdue.peekDue();
  }

  /** Streams have been moved up to here, in epoch milliseconds. */
  get advancedToMs(): number {
    return this.#advancedToMs;
  }

  /** Another engine had moved them up to here. */
  resume(throughMs: number): void {
    this.#advancedToMs = Math.max(this.#advancedToMs, throughMs);
  }

  add(stream: NewStream): void {
    const { table } = this;
    const { firstStream } = this.#schedules;
    const index = table.add();
    table.schedule[index] = stream.schedule;
    table.span[index] = stream.span;
    table.revision[index] = stream.revision;
    table.nominalThrough[index] = stream.nominalThroughSec;
    table.dueThrough[index] = stream.dueThroughMs;
    table.sentThrough[index] = stream.sentThroughMs;
    table.live[index] = stream.live ? 1 : 0;
    table.timing[index] = stream.timing;
    table.nominal[index] = stream.nominalSec;
    table.due[index] = stream.dueMs;
    table.next[index] = firstStream[stream.schedule]!;
    firstStream[stream.schedule] = index;
    this.#arm(index);
  }

  /** The streams of a schedule. */
  *of(schedule: number): Generator<number> {
    const { next } = this.table;
    for (let stream = this.#schedules.firstStream[schedule]!; stream !== NO_STREAM; stream = next[stream]!)
      yield stream;
  }

  /** Moves streams whose slot is due by `nowMs` to where they are taken; true if more are left for another turn. */
  advance(nowMs: number): boolean {
    this.#nowMs = nowMs;
    const count = this.#timers.popDue(nowMs, POPS_PER_TURN, this.#due);
    for (let i = 0; i < count; i++) this.putBack(this.#due[i]!);
    if (count === POPS_PER_TURN && this.#timers.peekDue() <= nowMs) {
      this.resume(this.#timers.peekDue() - 1);
      return true;
    }
    this.resume(nowMs);
    return false;
  }

  /** Takes streams whose slot is due by `nowMs` out of their waiting, to be dropped; answers their schedules. */
  *popDue(nowMs: number): Generator<number> {
    for (let count = POPS_PER_TURN; count === POPS_PER_TURN; ) {
      count = this.#timers.popDue(nowMs, POPS_PER_TURN, this.#due);
      for (let i = 0; i < count; i++) yield this.table.schedule[this.#due[i]!]!;
    }
  }

  /**
   * Takes the next stream, of live or of missed slots; undefined: none is left.
   *
   * @param isHeld tells which projects are passed over. Default: none
   */
  shift(live: boolean, nowMs: number, isHeld?: (project: number) => boolean): number | undefined {
    this.#nowMs = nowMs;
    const { table } = this;
    const queue = live ? this.#live : this.#backlog;
    for (;;) {
      const stream = queue.shift(isHeld);
      if (stream === undefined) return undefined;
      table.ready[stream] = 0;
      if (table.dropped[stream] === 1) table.free(stream);
      // The clock was set back since it was due.
      else if (table.due[stream]! > nowMs) {
        this.#overdue.remove(stream);
        this.#timers.upsert(stream, table.due[stream]!);
      } else return stream;
    }
  }

  /** Has a stream that is due wait to be taken. */
  putBack(stream: number): void {
    const { table } = this;
    const schedule = table.schedule[stream]!;
    table.ready[stream] = IN_QUEUE;
    const queue = table.live[stream] === 1 ? this.#live : this.#backlog;
    queue.push(this.#schedules.project[schedule]!, stream);
    if (this.#schedules.lagging[schedule] === 0) this.#overdue.upsert(stream, table.due[stream]!);
  }

  /** Puts a stream aside until its schedule is unparked. */
  park(stream: number): void {
    const schedule = this.table.schedule[stream]!;
    this.table.ready[stream] = PARKED;
    const parked = this.#parked.get(schedule);
    if (parked) parked.push(stream);
    else this.#parked.set(schedule, [stream]);
  }

  unpark(schedule: number): void {
    const parked = this.#parked.get(schedule);
    if (!parked) return;
    this.#parked.delete(schedule);
    for (const stream of parked) this.putBack(stream);
  }

  /** Whether no other stream of its schedule has a slot before this one's, by due time, then nominal time. */
  isFirst(stream: number): boolean {
    const { schedule, due, nominal } = this.table;
    for (const other of this.of(schedule[stream]!)) {
      if (due[other]! < due[stream]!) return false;
      if (due[other] === due[stream] && nominal[other]! < nominal[stream]!) return false;
    }
    return true;
  }

  /** A stream that was taken goes on with another slot of its, or ends. */
  moveOn(stream: number, nominalSec: number): void {
    const { table } = this;
    this.#overdue.remove(stream);
    if (nominalSec <= table.nominalThrough[stream]! && nominalSec !== Number.POSITIVE_INFINITY) {
      const dueMs = dueOf(table.timing[stream]!, nominalSec);
      if (dueMs <= table.dueThrough[stream]!) {
        table.nominal[stream] = nominalSec;
        table.due[stream] = dueMs;
        this.#arm(stream);
        return;
      }
    }
    this.#unlink(stream);
    table.free(stream);
  }

  /** Drops all streams of a schedule. */
  drop(schedule: number): void {
    const { table } = this;
    const streams = [...this.of(schedule)];
    this.#schedules.firstStream[schedule] = NO_STREAM;
    this.#parked.delete(schedule);
    for (const stream of streams) {
      this.#overdue.remove(stream);
      if (table.ready[stream] === IN_QUEUE) table.dropped[stream] = 1;
      else {
        this.#timers.remove(stream);
        table.free(stream);
      }
    }
  }

  /** When the last slot of a stream falls due; Infinity if it has no end. */
  lastDueOf(stream: number): number {
    const { timing, nominal, nominalThrough, dueThrough } = this.table;
    if (nominalThrough[stream] === Number.POSITIVE_INFINITY) return dueThrough[stream]!;
    return lastDueWithin(timing[stream]!, nominal[stream]!, nominalThrough[stream]!, dueThrough[stream]!);
  }

  /** The schedule of the first stream that holds the frontier, if it fell due before `beforeMs`. */
  firstOverdueBefore(beforeMs: number): number | undefined {
    if (this.#overdue.peekDue() >= beforeMs) return undefined;
    return this.#overdue.popDue(beforeMs - 1, 1, this.#due) === 0
      ? undefined
      : this.table.schedule[this.#due[0]!]!;
  }

  /** Whether the streams of a schedule hold the frontier has changed with `lagging`. */
  lagged(schedule: number): void {
    const { ready, due } = this.table;
    const lagging = this.#schedules.lagging[schedule] === 1;
    for (const stream of this.of(schedule)) {
      if (ready[stream] === 0) continue;
      if (lagging) this.#overdue.remove(stream);
      else this.#overdue.upsert(stream, due[stream]!);
    }
  }

  /** A stream waits for its time, or to be taken at once if that has been passed. */
  #arm(stream: number): void {
    const dueMs = this.table.due[stream]!;
    if (dueMs <= this.#nowMs) this.putBack(stream);
    else this.#timers.upsert(stream, dueMs);
  }

  #unlink(stream: number): void {
    const { firstStream } = this.#schedules;
    const { next, schedule: schedules } = this.table;
    const schedule = schedules[stream]!;
    let previous = firstStream[schedule]!;
    if (previous === stream) {
      firstStream[schedule] = next[stream]!;
      return;
    }
    while (next[previous] !== stream) previous = next[previous]!;
    next[previous] = next[stream]!;
  }
}
