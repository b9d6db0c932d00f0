import { type OracleSlot, slotsOf } from './oracle.ts';
import type { ScheduleRows, SpanRow } from './schedule-rows.ts';
import type { WrittenLedgerRow } from './sim-database.ts';

/** A slot of an active span, by the oracle. */
export interface ExpectedSlot extends OracleSlot {
  readonly span: SpanRow;
}

/** A pause that has ended, and its slots by the oracle. */
export interface ExpectedPause {
  readonly span: SpanRow;
  /** Whole epoch seconds, ascending; one at least. */
  readonly nominals: readonly number[];
}

/**
 * The slots of a pause that its ledger row is to tell of: all but those that were sent before it was committed, and whose rows say why else they
 * were skipped.
 */
export function untoldSlots(
  { nominals }: ExpectedPause,
  schedule: number,
  ledger: ReadonlyMap<string, WrittenLedgerRow>,
): number[] {
  return nominals.filter((nominal) => {
    const row = ledger.get(`${schedule} ${nominal * 1000} SKIPPED`);
    return row === undefined || row.reason === 'PAUSED' || row.slots !== 1;
  });
}

/** The slots of a schedule that its committed spans hold, kept until these change. */
export class ScheduleSlots {
  readonly #schedule: ScheduleRows;
  readonly #untilMs: number;
  #changes = -1;
  #slots: ExpectedSlot[] = [];
  #pauses: ExpectedPause[] = [];

  /** @param untilMs the end of the world, by any clock of it */
  constructor(schedule: ScheduleRows, untilMs: number) {
    this.#schedule = schedule;
    this.#untilMs = untilMs;
  }

  /** All slots of active spans, in the order of their spans. */
  get all(): readonly ExpectedSlot[] {
    this.#refresh();
    return this.#slots;
  }

  /** The pauses that have ended and held slots. */
  get pauses(): readonly ExpectedPause[] {
    this.#refresh();
    return this.#pauses;
  }

  /** Changes with {@link all}. */
  get version(): number {
    return this.#schedule.changes;
  }

  /** The slots that a span's revision has in (`fromMs`, `toMs`], whether the span holds them or not. */
  within(span: SpanRow, fromMs: number, toMs: number): ExpectedSlot[] {
    const { spec } = this.#schedule.revision(span.revision);
    const anchor = (this.#schedule.newest.anchorMs ?? 0) / 1000;
    return slotsOf({ spec, anchor, identity: this.#schedule.identity }, fromMs, toMs).map((slot) => ({
      ...slot,
      span,
    }));
  }

  #refresh(): void {
    const { spans, changes } = this.#schedule;
    if (changes === this.#changes) return;
    this.#changes = changes;
    this.#slots = [];
    this.#pauses = [];
    for (const span of spans) {
      if (span.begunAtMs === undefined) continue;
      const isOpen = span.end?.seenAtMs === undefined;
      if (span.state === 'PAUSED' && isOpen) continue;
      const slots = this.within(span, span.fromMs, isOpen ? this.#untilMs : span.end!.toMs);
      if (span.state === 'ACTIVE') this.#slots.push(...slots);
      else if (slots.length > 0) this.#pauses.push({ span, nominals: slots.map(({ nominal }) => nominal) });
    }
  }
}
