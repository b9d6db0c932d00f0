import { type OracleSlot, slotsOf } from './oracle.ts';
import type { ScheduleRows, SpanRow } from './schedule-rows.ts';

/** A slot of an active span, by the oracle. */
export interface ExpectedSlot extends OracleSlot {
  readonly span: SpanRow;
}

/** The slots of a schedule that its committed spans hold, kept until these change. */
export class ScheduleSlots {
  readonly #schedule: ScheduleRows;
  readonly #untilMs: number;
  #changes = -1;
  #slots: ExpectedSlot[] = [];

  /** @param untilMs the end of the world, by any clock of it */
  constructor(schedule: ScheduleRows, untilMs: number) {
    this.#schedule = schedule;
    this.#untilMs = untilMs;
  }

  /** All slots, in the order of their spans. */
  get all(): readonly ExpectedSlot[] {
    const { spans, changes } = this.#schedule;
    if (changes !== this.#changes) {
      this.#changes = changes;
      this.#slots = spans
        .filter((span) => span.state === 'ACTIVE' && span.begunAtMs !== undefined)
        .flatMap((span) => {
          const endMs = span.end?.seenAtMs === undefined ? this.#untilMs : span.end.toMs;
          return this.within(span, span.fromMs, endMs);
        });
    }
    return this.#slots;
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
}
