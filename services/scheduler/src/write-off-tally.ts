import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import { OVERLAPPED, type WriteOff } from './slot.ts';
import type { ProbeResult } from './slot-probe.ts';
import { noteRetention } from './verdicts.ts';

/** What became of the slots of a write-off, as far as they were looked at. */
export class WriteOffTally {
  readonly writeOff: WriteOff;
  /** Rows of the slots that turned out to have fired. */
  readonly fired: LedgerRow[] = [];
  readonly #overlapped: LedgerRow[] = [];
  #first: number | undefined;
  #last = 0;
  #count = 0;
  /** How many of those may have had a run that is not kept any more. */
  #beyondRetention = 0;

  constructor(writeOff: WriteOff) {
    this.writeOff = writeOff;
  }

  /** Takes in the next slot. @param run what a probe says of it; undefined also: it was never sent */
  take(nominalSec: number, run: ProbeResult): void {
    if (run === 'BEYOND_RETENTION') this.#beyondRetention++;
    if (run === undefined || run === 'BEYOND_RETENTION') {
      this.#first = Math.min(this.#first ?? nominalSec, nominalSec);
      this.#last = Math.max(this.#last, nominalSec);
      this.#count++;
      return;
    }
    const { id, revision } = this.writeOff;
    const row: LedgerRow = {
      schedule: id,
      revision,
      nominalMs: nominalSec * 1000,
      lastNominalMs: nominalSec * 1000,
      slots: 1,
      outcome: 'FIRED',
      reason: 'EXISTED',
      message: '',
      runId: run.runId,
      // When it was sent, its run tells.
      fireMs: undefined,
      latenessMs: undefined,
    };
    if (run.skipped) this.#overlapped.push({ ...row, ...OVERLAPPED });
    else this.fired.push(row);
  }

  /** Rows of the slots that did not fire: one for all that have no run, and one for each that its overlap policy skipped. */
  get unfired(): readonly LedgerRow[] {
    const { id, revision, verdict } = this.writeOff;
    const [first, last] = this.#range;
    if (first === undefined) return this.#overlapped;
    const row: LedgerRow = {
      schedule: id,
      revision,
      nominalMs: first * 1000,
      lastNominalMs: last * 1000,
      slots: this.#count,
      outcome: verdict.outcome,
      reason: verdict.reason,
      message: this.#message,
      runId: '',
      fireMs: undefined,
      latenessMs: undefined,
    };
    return [row, ...this.#overlapped];
  }

  /** Of slots that nobody knows: the seconds in which they may lie. */
  get #range(): readonly [first: number | undefined, last: number] {
    const { timing, nominalSec, lastNominalSec } = this.writeOff;
    return timing === undefined ? [nominalSec, lastNominalSec] : [this.#first, this.#last];
  }

  get #message(): string {
    const { message } = this.writeOff.verdict;
    if (this.#beyondRetention === 0) return message;
    const which = this.#count === 1 ? 'it' : `${this.#beyondRetention} of ${this.#count}`;
    return noteRetention(message, which);
  }

  /** Counts them. */
  count({ writtenOff, successfulFires }: Pick<SchedulerMetrics, 'writtenOff' | 'successfulFires'>): void {
    const { outcome, reason } = this.writeOff.verdict;
    // What nobody can count is counted as one, so that it shows.
    writtenOff.inc({ outcome, reason }, this.writeOff.timing === undefined ? 1 : this.#count);
    writtenOff.inc({ outcome: OVERLAPPED.outcome, reason: OVERLAPPED.reason }, this.#overlapped.length);
    successfulFires.inc({ class: 'missed' }, this.fired.length);
  }

  /** The same for the log. */
  get words(): Record<string, unknown> {
    const { id, revision, nominalSec, verdict } = this.writeOff;
    return {
      scheduleId: id,
      revision,
      from: new Date((this.#first ?? nominalSec) * 1000).toISOString(),
      to: new Date((this.#first === undefined ? nominalSec : this.#last) * 1000).toISOString(),
      slots: this.#count,
      fired: this.fired.length,
      overlapped: this.#overlapped.length,
      beyondRetention: this.#beyondRetention,
      outcome: verdict.outcome,
      reason: verdict.reason,
    };
  }
}
