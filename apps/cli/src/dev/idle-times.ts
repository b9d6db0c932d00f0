/** Within that time of its due time nobody would say that a slot was missed. */
const MISSED_MS = 1_000;

/** When the scheduler fired nothing. A slot that fell due then is caught up on afterwards; the others are late. */
export class IdleTimes {
  /** Epoch milliseconds; the last one goes on while it is idle. */
  readonly #stretches: { readonly fromMs: number; toMs: number }[] = [
    { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY },
  ];

  /** The scheduler fires, or does not, from this time on. Saying it again changes nothing. */
  note(firing: boolean, nowMs: number): void {
    const last = this.#stretches.at(-1);
    const idle = last?.toMs === Number.POSITIVE_INFINITY;
    if (firing === !idle) return;
    if (firing && last) last.toMs = nowMs;
    else this.#stretches.push({ fromMs: nowMs, toMs: Number.POSITIVE_INFINITY });
  }

  /** Whether a slot that was fired so late fell due when nothing fired. */
  missed(dueMs: number, latenessMs: number): boolean {
    return (
      latenessMs >= MISSED_MS && this.#stretches.some(({ fromMs, toMs }) => dueMs >= fromMs && dueMs < toMs)
    );
  }
}
