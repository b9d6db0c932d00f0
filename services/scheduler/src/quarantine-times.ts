import { type DueRange, unionOf, without } from '@carillon/core/due-ranges.ts';

/** A stretch of time in which a schedule was in quarantine. */
export interface QuarantineStretch extends DueRange {
  /** The newest span that handed out nothing; Infinity: none did. */
  readonly throughSpan: number;
}

/** When schedules were in quarantine in the present term, by their handles: what fell due then was missed, although somebody led. */
export class QuarantineTimes {
  readonly #stretches = new Map<number, readonly QuarantineStretch[]>();

  add(schedule: number, stretch: QuarantineStretch): void {
    if (stretch.after >= stretch.through) return;
    this.#stretches.set(schedule, [...(this.#stretches.get(schedule) ?? []), stretch]);
  }

  /** A schedule is not in memory any more. */
  forget(schedule: number): void {
    this.#stretches.delete(schedule);
  }

  /**
   * The stretches of time in which slots of a span are live.
   *
   * @param live those in which its schedule was led
   * @param before when that was in quarantine before the present term
   */
  liveOf(
    schedule: number,
    span: number,
    live: readonly DueRange[],
    before: readonly QuarantineStretch[],
  ): readonly DueRange[] {
    const stretches = [...before, ...(this.#stretches.get(schedule) ?? [])].filter(
      ({ throughSpan }) => span <= throughSpan,
    );
    if (stretches.length === 0) return live;
    const quarantined = unionOf(stretches);
    return live.flatMap((range) => without(range, quarantined));
  }
}
