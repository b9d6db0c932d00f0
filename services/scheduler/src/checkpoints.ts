import type { UnitKey } from '@carillon/core/assignment.ts';
import { type DueRange, unionOf, without } from '@carillon/core/due-ranges.ts';
import type { OutstandingItems } from './outstanding-items.ts';
import type { ScheduleTable } from './schedule-table.ts';
import { lastDueOf, type Outstanding } from './slot.ts';
import type { StreamQueues } from './stream-queues.ts';
import type { UnitTable } from './unit-table.ts';

/** A schedule that lags this far behind gets a watermark of its own, so that the frontier can go on without it. */
const LAGGARD_AFTER_MS = 5_000;
/** How many laggard rows a checkpoint writes at most; the rest waits for the next one. */
const LAGGARDS_PER_CHECKPOINT = 1_000;
/** The same when nothing else is done meanwhile. */
const LAGGARDS_PER_LAST_CHECKPOINT = 5_000;

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
  /** Whether nothing is left for the next one, of what was settled until now. */
  readonly isComplete: boolean;
}

/** A schedule whose rows the database refuses. */
export interface Refusal {
  /** How far it is settled, as it is stored, or is to be. */
  readonly throughMs: number;
  readonly settledAbove: readonly DueRange[];
  /** When it was refused, by the latest that the database's clock had said. */
  readonly sinceMs: number;
}

/** How much of what is settled a checkpoint tells: see `Checkpoints.next`. */
export type CheckpointExtent = 'TOUCHED' | 'EVERY_UNIT' | 'LAST';

/** What checkpoints are made from. */
export interface CheckpointsOptions {
  readonly schedules: ScheduleTable;
  readonly units: UnitTable;
  readonly streams: StreamQueues;
  readonly outstanding: OutstandingItems;
  /** What of a schedule is unsettled, and not outstanding. */
  readonly unsettledOf: (schedule: number) => DueRange[];
  /** Whether nobody knows which slots a schedule has, so that it does not hold the frontier by these. */
  readonly isHeld: (schedule: number) => boolean;
}

/**
 * How far everything is settled: one frontier for all schedules, and a watermark of its own, a laggard row, for each that cannot keep up with
 * it. A checkpoint tells what of that is to be written down next; until it is confirmed, nothing rests on it.
 */
export class Checkpoints {
  readonly #schedules: ScheduleTable;
  readonly #units: UnitTable;
  readonly #streams: StreamQueues;
  readonly #outstanding: OutstandingItems;
  readonly #unsettledOf: (schedule: number) => DueRange[];
  readonly #isHeld: (schedule: number) => boolean;
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
  /** By schedule: what was settled by ledger rows that are not known to be stored; and what of it is on its way. */
  readonly #unrecorded = new Map<number, readonly DueRange[]>();
  #recording: ReadonlyMap<number, readonly DueRange[]> = new Map();
  /** Schedules whose rows the database refuses: what is stored of them stands. */
  readonly #refused = new Map<number, Refusal>();
  #laggardCount = 0;

  constructor({ schedules, units, streams, outstanding, unsettledOf, isHeld }: CheckpointsOptions) {
    this.#schedules = schedules;
    this.#units = units;
    this.#streams = streams;
    this.#outstanding = outstanding;
    this.#unsettledOf = unsettledOf;
    this.#isHeld = isHeld;
  }

  /** How many schedules have a watermark of their own, or are about to get one. */
  get laggardSize(): number {
    return this.#laggardCount;
  }

  /** How many schedules the database refuses rows of. */
  get refusedSize(): number {
    return this.#refused.size;
  }

  /** A schedule has a stored watermark of its own; for all that is known, because of what was written off up to `writtenOffMs`. */
  hasOwn(schedule: number, writtenOffMs: number): void {
    this.lag(schedule);
    this.#unconfirmed.delete(schedule);
    this.#writtenOff.set(schedule, writtenOffMs);
  }

  /** A schedule gets a watermark of its own. */
  lag(schedule: number): void {
    this.#setLagging(schedule, true);
  }

  /** What is unsettled of a schedule is other than before. */
  moved(schedule: number): void {
    if (this.#schedules.lagging[schedule] === 1) this.#dirtyLaggards.add(schedule);
  }

  /** The spans of a schedule are other than before. */
  changed(schedule: number): void {
    if (this.#schedules.lagging[schedule] === 0) return;
    this.#dirtyLaggards.add(schedule);
    this.#changedLaggards.add(schedule);
  }

  /**
   * An outstanding item has its outcome.
   *
   * @param isTold whether a ledger row tells it, with the next flush
   */
  settled(item: Outstanding, isTold: boolean): void {
    const { schedule } = item;
    // What became of it is not written down, so it is decided again.
    if (this.#refused.has(schedule)) return;
    this.#units.touched[this.#schedules.unit[schedule]!] = 1;
    if (isTold) this.#addUnrecorded(schedule, [{ after: item.dueMs - 1, through: lastDueOf(item) }]);
    if (item.kind === 'write-off') {
      const before = this.#writtenOff.get(schedule) ?? Number.NEGATIVE_INFINITY;
      this.#writtenOff.set(schedule, Math.max(before, lastDueOf(item)));
      this.lag(schedule);
    }
    this.moved(schedule);
  }

  /** Since when the database refuses rows of a schedule, and what is stored of it; undefined: it takes them. */
  refusalOf(schedule: number): Refusal | undefined {
    return this.#refused.get(schedule);
  }

  /**
   * The database refuses rows of a schedule: what is stored of it stands, whatever is settled from now on, and what was settled since is not.
   *
   * @param hasOwn whether what is stored stands in a row of its own
   */
  refuse(schedule: number, stored: Pick<Laggard, 'throughMs' | 'settledAbove'>, hasOwn: boolean): void {
    // A span that is news may be unsettled below what is stored.
    const unstored = unionOf([...this.#unsettled(schedule), ...(this.#unrecorded.get(schedule) ?? [])]);
    const throughMs = Math.min(stored.throughMs, unstored[0]?.after ?? Number.POSITIVE_INFINITY);
    const below = throughMs < stored.throughMs ? [{ after: throughMs, through: stored.throughMs }] : [];
    const settledAbove = [...below, ...stored.settledAbove].flatMap((range) => without(range, unstored));
    this.#refused.set(schedule, { throughMs, settledAbove, sinceMs: this.#streams.advancedToMs });
    this.#writtenOff.delete(schedule);
    this.#unrecorded.delete(schedule);
    this.lag(schedule);
    const isStored = hasOwn && isSame({ throughMs, settledAbove }, stored);
    for (const set of [this.#unconfirmed, this.#dirtyLaggards, this.#changedLaggards]) {
      if (isStored) set.delete(schedule);
      else set.add(schedule);
    }
  }

  /** A schedule goes on from what is stored of it. */
  resume(schedule: number): void {
    const refusal = this.#refused.get(schedule);
    if (!refusal) return;
    this.#refused.delete(schedule);
    this.#writtenOff.set(schedule, refusal.settledAbove.at(-1)?.through ?? refusal.throughMs);
  }

  /** A schedule is not in memory any more. */
  forget(schedule: number): void {
    this.#writtenOff.delete(schedule);
    this.#unrecorded.delete(schedule);
    this.#refused.delete(schedule);
    this.#setLagging(schedule, false);
  }

  /**
   * What can be written down now.
   *
   * @param extent `TOUCHED`: the frontiers of units in which something was settled; `EVERY_UNIT`: those of all units; `LAST`: these, with a
   *   watermark for every schedule that holds the frontier, however little it lags, so that the next leader finds all that is settled
   */
  next(nowMs: number, extent: CheckpointExtent): Checkpoint {
    const isLast = extent === 'LAST';
    const atMost = isLast ? LAGGARDS_PER_LAST_CHECKPOINT : LAGGARDS_PER_CHECKPOINT;
    const beforeMs = isLast ? Number.POSITIVE_INFINITY : nowMs - LAGGARD_AFTER_MS;
    const elected = this.#electLaggards(beforeMs, atMost);
    const { lagging, unit } = this.#schedules;
    const { storedMs, spokenForMs, touched } = this.#units;
    const included = new Set<number>(this.#changedLaggards);
    for (const schedule of this.#writtenOff.keys()) {
      if (this.#dirtyLaggards.has(schedule)) included.add(schedule);
    }
    // Those without a row of their own come before others: until it is written they hold the frontier as before.
    const most = included.size + atMost;
    for (const schedule of [...this.#unconfirmed, ...this.#dirtyLaggards]) {
      if (included.size >= most) break;
      included.add(schedule);
    }
    const isComplete = elected < atMost && included.size < most;
    // In whole milliseconds, as it is stored and slots fall due.
    let frontierMs = Math.min(
      Math.floor(this.#streams.advancedToMs),
      this.#streams.nextDueMs - 1,
      this.#streams.firstOverdueMs - 1,
    );
    for (const [schedule, items] of this.#outstanding.entries()) {
      if (lagging[schedule] === 1) continue;
      for (const item of items) frontierMs = Math.min(frontierMs, item.dueMs - 1);
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
      if (this.#refused.has(schedule) || this.#isHeld(schedule)) laggards.push(laggard);
      else if (laggard.throughMs < Math.max(unitThroughMs, spokenForMs[unit[schedule]!]!))
        laggards.push(laggard);
      // It would hold the frontier again, and be elected again, while others that fell due with it never are.
      else if (laggard.throughMs < beforeMs) laggards.push(laggard);
      else if (writtenOffMs <= unitThroughMs) caughtUp.push(schedule);
      // What is settled for ever has no end to store.
      else laggards.push({ ...laggard, throughMs: Math.min(laggard.throughMs, writtenOffMs) });
      // A watermark is read beside its unit's feed snapshot, so both are written together.
      touched[unit[schedule]!] = 1;
    }
    const units: UnitKey[] = [];
    const throughMs: number[] = [];
    for (let index = 0; index < this.#units.size; index++) {
      if (extent === 'TOUCHED' && touched[index] === 0) continue;
      units.push(this.#units.keys[index]!);
      throughMs.push(throughOf(index));
    }
    return { frontierMs, units, throughMs, laggards, caughtUp, isComplete };
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
    this.#recording = new Map(this.#unrecorded);
    this.#unrecorded.clear();
  }

  /** The checkpoint was written. */
  confirm({ laggards, caughtUp }: Checkpoint): void {
    this.#recording = new Map();
    for (const { schedule } of laggards) this.#unconfirmed.delete(schedule);
    for (const schedule of caughtUp) {
      if (this.needsOwn(schedule)) {
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
    for (const [schedule, ranges] of this.#recording) this.#addUnrecorded(schedule, ranges);
    this.#recording = new Map();
    for (const key of units) this.#units.touched[this.#units.add(key)] = 1;
    for (const schedule of [...laggards.map((laggard) => laggard.schedule), ...caughtUp]) {
      this.#unconfirmed.add(schedule);
      this.#dirtyLaggards.add(schedule);
      this.#changedLaggards.add(schedule);
    }
  }

  /** Whether the stored frontiers do not say all of it that is settled, or more than that. */
  needsOwn(schedule: number): boolean {
    const unit = this.#schedules.unit[schedule]!;
    const { storedMs, spokenForMs } = this.#units;
    return (
      (this.#writtenOff.get(schedule) ?? Number.NEGATIVE_INFINITY) > storedMs[unit]! ||
      this.#laggardOf(schedule).throughMs < spokenForMs[unit]!
    );
  }

  /** Gives schedules that hold the frontier before a time a watermark of their own, the worst first; tells how many. */
  #electLaggards(beforeMs: number, atMost: number): number {
    let elected = 0;
    for (const [schedule, items] of this.#outstanding.entries()) {
      if (elected >= atMost) return elected;
      if (this.#schedules.lagging[schedule] === 1) continue;
      for (const item of items) {
        if (item.dueMs >= beforeMs) continue;
        this.#setLagging(schedule, true);
        elected++;
        break;
      }
    }
    while (elected < atMost) {
      const schedule = this.#streams.firstOverdueBefore(beforeMs);
      if (schedule === undefined) break;
      this.#setLagging(schedule, true);
      elected++;
    }
    return elected;
  }

  #setLagging(schedule: number, lagging: boolean): void {
    if ((this.#schedules.lagging[schedule] === 1) === lagging) return;
    this.#schedules.lagging[schedule] = lagging ? 1 : 0;
    this.#laggardCount += lagging ? 1 : -1;
    if (lagging) {
      this.#dirtyLaggards.add(schedule);
      this.#unconfirmed.add(schedule);
    } else {
      this.#dirtyLaggards.delete(schedule);
      this.#changedLaggards.delete(schedule);
      this.#unconfirmed.delete(schedule);
    }
    this.#streams.lagged(schedule);
  }

  #addUnrecorded(schedule: number, ranges: readonly DueRange[]): void {
    this.#unrecorded.set(schedule, unionOf([...(this.#unrecorded.get(schedule) ?? []), ...ranges]));
  }

  /** The due times of all that is unsettled of a schedule, outstanding or not. */
  #unsettled(schedule: number): DueRange[] {
    const unsettled = this.#unsettledOf(schedule);
    for (const item of this.#outstanding.of(schedule)) {
      unsettled.push({ after: item.dueMs - 1, through: lastDueOf(item) });
    }
    return unionOf(unsettled);
  }

  /** The schedule's watermark, and what is settled above it. */
  #laggardOf(schedule: number): Laggard {
    const refusal = this.#refused.get(schedule);
    if (refusal) return { schedule, throughMs: refusal.throughMs, settledAbove: refusal.settledAbove };
    const union = this.#unsettled(schedule);
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

function isSame(
  a: Pick<Laggard, 'throughMs' | 'settledAbove'>,
  b: Pick<Laggard, 'throughMs' | 'settledAbove'>,
): boolean {
  return a.throughMs === b.throughMs && JSON.stringify(a.settledAbove) === JSON.stringify(b.settledAbove);
}
