import { runName } from '@carillon/core/run-name.ts';
import { gapsBetween, ruledOut } from './catch-up-rules.ts';
import type { History } from './history.ts';
import { objectionTo } from './outcome-rules.ts';
import { overlapViolations } from './overlap-rules.ts';
import type { ScheduleRows, SpanRow } from './schedule-rows.ts';
import { type ExpectedSlot, untoldSlots } from './schedule-slots.ts';
import type { WrittenLedgerRow } from './sim-database.ts';
import type { RedriveRow } from './sim-redrives.ts';
import type { SimRun } from './sim-runs.ts';
import { isExclusive, type SimSpec } from './sim-spec.ts';

/** A slot in the time between the request of a change and its acknowledgement may have a run or none; and so for this long after. */
const GRACE_MS = 100;
/** How late a slot may be sent where nothing goes wrong: hints may be lost, and the feed is read every second regardless. */
const CALM_LATENESS_MS = 2_500;
/** The clocks of this long at most run apart between two readings of the database's. */
const READING_EVERY_MS = 3_000;

/** What a history came to. */
export interface Judgement {
  /** Slots that had to have an outcome. */
  readonly slots: number;
  readonly violations: readonly string[];
}

/**
 * Judges a history by Invariant I: every slot of an active schedule has exactly one outcome and at most one run; FIRED means a run, and
 * the other outcomes that none exists; no run outside a slot, none early, none that was sent after a stop; lateness within bounds. A
 * run that its overlap policy skipped counts as none. A dead slot may get its one run when somebody asked for a redrive. Each pause that has ended has a ledger row that counts its slots.
 */
export function judge(history: History): Judgement {
  const violations = [...history.violations];
  const runs = runsBySchedule(history, violations);
  let slots = 0;
  for (const schedule of history.schedules) {
    const judgement = new ScheduleJudgement(history, schedule, runs.get(schedule.uid) ?? []);
    slots += judgement.expected.length;
    violations.push(...judgement.violations());
  }
  violations.push(...overlapViolations(history.keyEvents));
  for (const { schedule, nominalMs } of history.openRedrives)
    violations.push(`a redrive of schedule ${schedule} at ${nominalMs / 1000} was lost`);
  return { slots, violations };
}

function runsBySchedule(history: History, violations: string[]): Map<string, SimRun[]> {
  const byUid = new Map<string, SimRun[]>();
  const names = new Map<string, SimRun>();
  const uids = new Set(history.schedules.map(({ uid }) => uid));
  for (const run of history.runs) {
    if (!uids.has(run.scheduleUid)) violations.push(`a run of an unknown schedule: ${run.name}`);
    const runs = byUid.get(run.scheduleUid) ?? [];
    byUid.set(run.scheduleUid, [...runs, run]);
    if (names.has(run.name)) violations.push(`two runs have the name ${run.name}`);
    names.set(run.name, run);
  }
  return byUid;
}

/** One schedule of a history. */
class ScheduleJudgement {
  readonly expected: readonly ExpectedSlot[];
  readonly #history: History;
  readonly #schedule: ScheduleRows;
  readonly #runs: readonly SimRun[];
  readonly #violations: string[] = [];

  constructor(history: History, schedule: ScheduleRows, runs: readonly SimRun[]) {
    this.#history = history;
    this.#schedule = schedule;
    this.#runs = runs;
    const { all } = history.slotsOf(schedule);
    this.expected = all.filter((slot) => slot.dueMs <= history.settledByMs);
  }

  violations(): readonly string[] {
    const runsAt = new Map<number, SimRun>();
    for (const run of this.#runs) {
      if (runsAt.has(run.nominal)) this.#against(`the slot ${run.nominal} has two runs`);
      runsAt.set(run.nominal, run);
      this.#checkRun(run);
    }
    const rowsAt = this.#rowsBySlot(runsAt);
    for (const slot of this.expected) {
      const run = runsAt.get(slot.nominal);
      const rows = rowsAt.get(slot) ?? [];
      if (!run && rows.length === 0) this.#against(`the slot ${slot.nominal} has no outcome`);
      // A clock that is set back lets in what had been too late: nobody can know of that.
      if (run && this.#history.databaseStepsBack && run.highestDatabaseMs > run.notAfterMs) continue;
      if (run?.outcome === 'SKIPPED') this.#checkSkipped(run, rows[0]);
      else if (run && rows[0]) this.#checkBoth(run, rows[0]);
      if (!run && rows.some(({ reason }) => reason === 'OVERLAP'))
        this.#against(
          `the slot ${slot.nominal} is said to have been skipped in favour of others, and has no run`,
        );
      if (rows.length > 1) this.#against(`the slot ${slot.nominal} is ${rows.map(wordsOf).join(' and ')}`);
      for (const row of rows) {
        const objection = objectionTo(row, slot, this.#schedule, this.#history, this.#toleranceMs());
        if (objection) this.#against(`the slot ${slot.nominal} is ${wordsOf(row)}, although ${objection}`);
      }
      if (run && this.#redriveBefore(run) === undefined && this.#history.plan.calm) {
        this.#checkLateness(slot, run);
        this.#checkOrder(slot, run, runsAt);
      }
    }
    this.#checkCatchUp(runsAt);
    return this.#violations;
  }

  /** What was missed is fired as far as its policy says. */
  #checkCatchUp(runsAt: ReadonlyMap<number, SimRun>): void {
    const { plan, databaseSteps } = this.#history;
    if (databaseSteps) return;
    const quarantines = this.#history.quarantines.filter(({ schedule }) => schedule === this.#schedule.id);
    const gaps = [...gapsBetween(this.#history.termsOf(this.#schedule)), ...quarantines];
    const specOf = (revision: number): SimSpec => this.#schedule.revision(revision).spec;
    for (const { nominal } of ruledOut(gaps, this.expected, specOf, plan.epochMs)) {
      const run = runsAt.get(nominal);
      if (run && this.#redriveBefore(run) === undefined)
        this.#against(
          `the slot ${nominal} was missed and fired, although its policy fires newer ones at most`,
        );
    }
  }

  /** A slot has a run, and a ledger row that says otherwise: right only if it was dead, and redriven. */
  #checkBoth(run: SimRun, row: WrittenLedgerRow): void {
    if (row.outcome !== 'DEAD' || this.#redriveBefore(run) === undefined)
      this.#against(`the slot ${run.nominal} has a run, and is ${row.outcome} as well`);
    else if (!this.#isRedriven(run.nominal))
      this.#against(`the redrive of ${run.nominal} has a run, which no ledger row tells`);
  }

  /** A slot whose run stands there as skipped has not fired, and its ledger row says so. */
  #checkSkipped(run: SimRun, row: WrittenLedgerRow | undefined): void {
    // One that was dead, and redriven for nothing, may have been redriven again since.
    const isTold = row?.outcome === 'DEAD' ? this.#redriveBefore(run) : row?.reason === 'OVERLAP';
    if (!isTold) this.#against(`the run for ${run.nominal} was skipped, and no ledger row says so`);
  }

  /** A schedule whose overlap policy decides by order has one slot in flight, by due time, then nominal time. */
  #checkOrder(slot: ExpectedSlot, run: SimRun, runsAt: ReadonlyMap<number, SimRun>): void {
    if (!isExclusive(this.#schedule.revision(run.revision).spec)) return;
    for (const other of this.expected) {
      if (other.dueMs > slot.dueMs || (other.dueMs === slot.dueMs && other.nominal >= slot.nominal)) continue;
      const before = runsAt.get(other.nominal);
      // The leader must have known of it when this one was sent.
      if (!before || this.#redriveBefore(before)) continue;
      if (other.span.begunAtMs! + CALM_LATENESS_MS > run.sentAtMs) continue;
      if (before.committedAtMs > run.sentAtMs)
        this.#against(`the slot ${slot.nominal} was sent before ${other.nominal} had its run`);
    }
  }

  /** The last redrive of a run's slot that had been asked for when the slot was looked at before the run was sent. */
  #redriveBefore({ nominal, lookedAtMs }: SimRun): RedriveRow | undefined {
    return this.#redrivesOf(nominal).findLast(({ requestedAtMs }) => requestedAtMs <= lookedAtMs);
  }

  #redrivesOf(nominal: number): readonly RedriveRow[] {
    return this.#history.redrives.filter(
      ({ schedule, nominalMs }) => schedule === this.#schedule.id && nominalMs === nominal * 1000,
    );
  }

  #isRedriven(nominal: number): boolean {
    const fired = this.#history.ledger.get(`${this.#schedule.id} ${nominal * 1000} FIRED`);
    return fired?.reason === 'REDRIVEN';
  }

  #checkRun(run: SimRun): void {
    const { name } = this.#schedule;
    const id = runName({
      project: name.project,
      domain: name.domain,
      schedule: name.scheduleId,
      nominalSec: run.nominal,
      kind: 'slot',
      id: '',
    });
    if (run.name !== `projects/${name.project}/domains/${name.domain}/runs/${id}`)
      this.#against(`the run for ${run.nominal} has the name ${run.name}`);
    const slot = this.#slotOfRun(run);
    if (!slot) {
      this.#against(`there is a run for ${run.nominal}, which is no slot (revision ${run.revision})`);
      return;
    }
    this.#checkEarliness(slot, run);
    this.#checkStops(run);
  }

  /** The slot that a run is for: of the span that holds it, or, while a change was being made, of the one that held it before. */
  #slotOfRun(run: SimRun): ExpectedSlot | undefined {
    const slots = this.#history.slotsOf(this.#schedule);
    const nominalMs = run.nominal * 1000;
    for (const span of this.#spans()) {
      if (span.revision !== run.revision) continue;
      const { end } = span;
      const toMs = end === undefined ? nominalMs : Math.max(end.toMs, end.seenAtDatabaseMs + this.#graceMs());
      if (nominalMs > toMs || nominalMs <= span.fromMs) continue;
      const [slot] = slots.within(span, nominalMs - 1, nominalMs);
      if (!slot) continue;
      // It must have been one when it was looked at.
      if (span.begunAtMs! > run.lookedAtMs) continue;
      if (end && nominalMs > end.toMs && end.seenAtMs! < run.lookedAtMs) continue;
      return slot;
    }
    return undefined;
  }

  #checkEarliness({ dueMs }: ExpectedSlot, run: SimRun): void {
    const toleranceMs = this.#toleranceMs();
    if (run.highestDatabaseMs < dueMs - toleranceMs)
      this.#against(`the run for ${run.nominal} was created ${dueMs - run.highestDatabaseMs} ms early`);
    // A clock that is set back does not take back what had fallen due.
    if (run.fireMs < Math.floor(dueMs) && !this.#history.databaseStepsBack)
      this.#against(`the run for ${run.nominal} says that it was sent early`);
  }

  /** How far a scheduler's idea of the database's clock may be ahead: by drift, and by a step back until it reads it again. */
  #toleranceMs(): number {
    const { plan, databaseStepsBack } = this.#history;
    const drift = Math.max(...plan.replicas.map((replica) => Math.abs(replica.drift)));
    return 1 + drift * 2 * READING_EVERY_MS + (databaseStepsBack ? READING_EVERY_MS : 0);
  }

  /** A stop that is newer than the slot, and was there when the slot was looked at, must have held it back. */
  #checkStops(run: SimRun): void {
    // Whoever asks for a redrive knows of the stops before.
    const countFromMs = this.#redriveBefore(run)?.requestMs ?? run.nominal * 1000;
    for (const { end } of this.#spans()) {
      if (end === undefined || end.reason === 'REVISED' || end.reason === 'UNPAUSED') continue;
      if (end.toMs >= countFromMs && end.seenAtMs! < run.lookedAtMs)
        this.#against(
          `the run for ${run.nominal} was sent although the schedule had been ${end.reason} since`,
        );
    }
  }

  #checkLateness({ dueMs, span }: ExpectedSlot, run: SimRun): void {
    const { epochMs, replicas } = this.#history.plan;
    const firstReplicaMs = Math.min(...replicas.map(({ startMs }) => startMs));
    const earliestMs = Math.max(dueMs, epochMs + span.begunAtMs!, epochMs + firstReplicaMs);
    const latenessMs = run.fireMs - earliestMs;
    if (latenessMs > CALM_LATENESS_MS)
      this.#against(`the slot ${run.nominal} was ${latenessMs} ms late for no reason`);
  }

  /** Which ledger rows speak of which slots. A row must count right, but for slots that a change was just taking away. */
  #rowsBySlot(runsAt: ReadonlyMap<number, SimRun>): Map<ExpectedSlot, WrittenLedgerRow[]> {
    const bySlot = new Map<ExpectedSlot, WrittenLedgerRow[]>();
    const { all: allSlots } = this.#history.slotsOf(this.#schedule);
    // A slot that a change has just taken from another revision may have been given up as that one's.
    const isBare = (slot: ExpectedSlot): boolean =>
      !isExecuted(runsAt.get(slot.nominal)) && !bySlot.has(slot);
    const isOwn = (row: WrittenLedgerRow): boolean =>
      allSlots.some((slot) => slot.span.revision === row.revision && slot.nominal * 1000 === row.nominalMs);
    const ofPauses = this.#rowsOfPauses();
    const rows = [...this.#history.ledger.values()].filter((row) => {
      if (row.schedule !== this.#schedule.id || ofPauses.has(row)) return false;
      if (row.outcome !== 'FIRED') return true;
      if (!isExecuted(runsAt.get(row.nominalMs / 1000)))
        this.#against(`the ledger says that ${row.nominalMs / 1000} fired, and it has no run`);
      if (row.reason === 'REDRIVEN' && this.#redrivesOf(row.nominalMs / 1000).length === 0)
        this.#against(`nobody asked for the redrive of ${row.nominalMs / 1000}`);
      return false;
    });
    // Single ones first: a longer one may leave them out.
    for (const row of rows.sort(
      (a, b) =>
        Number(isOwn(b)) - Number(isOwn(a)) ||
        (a.slots || Number.POSITIVE_INFINITY) - (b.slots || Number.POSITIVE_INFINITY),
    )) {
      // What was said before a span was there is not said of it: a clock that is set back brings times again that were decided.
      const inRange = (slot: ExpectedSlot): boolean =>
        slot.nominal * 1000 >= row.nominalMs &&
        slot.nominal * 1000 <= row.lastNominalMs &&
        (row.slots === 1
          ? slot.span.revision === row.revision || isBare(slot)
          : slot.span.revision === row.revision && slot.span.begunAtMs! <= row.atMs);
      const all = allSlots.filter(inRange);
      const free = all.filter(isBare);
      if (row.slots === 0) {
        // It speaks of those that have no run, however many these are.
        for (const slot of free) bySlot.set(slot, [row]);
        if (!this.#schedule.revision(row.revision).wasUnreadable)
          this.#against(`a ledger row of ${wordsOf(row)} counts no slots, although its revision can be read`);
        continue;
      }
      const ghosts = this.#ghosts().filter(inRange).length;
      const meant = all.length <= row.slots ? all : free;
      if (row.slots < meant.length || row.slots > meant.length + ghosts) {
        this.#against(
          `a ledger row of ${wordsOf(row)} speaks of ${row.slots} slots from ${row.nominalMs / 1000} to ${row.lastNominalMs / 1000}, where there are ${meant.length}`,
        );
      }
      for (const slot of meant) bySlot.set(slot, [...(bySlot.get(slot) ?? []), row]);
    }
    return bySlot;
  }

  /** The rows that tell of pauses that have ended: of each pause one, with the slots that the oracle counts. */
  #rowsOfPauses(): ReadonlySet<WrittenLedgerRow> {
    const { ledger } = this.#history;
    const { id } = this.#schedule;
    const told = new Set<WrittenLedgerRow>();
    for (const pause of this.#history.slotsOf(this.#schedule).pauses) {
      const slots = untoldSlots(pause, id, ledger);
      const [first, last] = [slots[0], slots.at(-1)];
      if (first === undefined || last === undefined) continue;
      const { revision } = pause.span;
      const row = ledger.get(`${id} ${first * 1000} SKIPPED`);
      if (
        row?.reason === 'PAUSED' &&
        row.revision === revision &&
        row.lastNominalMs === last * 1000 &&
        row.slots === slots.length
      )
        told.add(row);
      else
        this.#against(
          `no ledger row tells of the ${slots.length} slots of a pause, from ${first} to ${last} (revision ${revision})`,
        );
    }
    return told;
  }

  /**
   * Slots that spans would have held, had they not been ended by a change. A leader that could not read of it may have given them up
   * meanwhile.
   */
  #ghosts(): ExpectedSlot[] {
    const { plan, settledByMs } = this.#history;
    const slots = this.#history.slotsOf(this.#schedule);
    return this.#spans().flatMap((span) => {
      if (!span.end || span.state !== 'ACTIVE') return [];
      const seenMs = span.end.seenAtDatabaseMs + this.#graceMs();
      return slots.within(span, span.end.toMs, plan.calm ? seenMs : Math.max(seenMs, settledByMs));
    });
  }

  /** A clock that was set back is taken for what it was until it is read again. */
  #graceMs(): number {
    return GRACE_MS + (this.#history.databaseStepsBack ? READING_EVERY_MS : 0);
  }

  #spans(): SpanRow[] {
    return this.#schedule.spans.filter((span) => span.begunAtMs !== undefined);
  }

  #against(what: string): void {
    this.#violations.push(`${this.#schedule.identity} (id ${this.#schedule.id}): ${what}`);
  }
}

/** A run that its overlap policy skipped is only the record of that. */
function isExecuted(run: SimRun | undefined): boolean {
  return run !== undefined && run.outcome !== 'SKIPPED';
}

function wordsOf({ outcome, reason }: WrittenLedgerRow): string {
  return `${outcome}(${reason})`;
}
