import type { DueRange } from '@carillon/core/due-ranges.ts';
import type { UnreadableSpan } from './schedule-record.ts';

/** A stretch of a span that cannot be read. */
export interface HeldSpan {
  readonly span: UnreadableSpan;
  readonly range: DueRange;
}

/** What of a schedule cannot be read. */
export interface Held {
  /** In their order; one at least. */
  readonly spans: readonly HeldSpan[];
  /** Since when, by the latest that the database's clock had said; undefined: it has said nothing since. */
  readonly sinceMs: number | undefined;
}

/** What schedules have to settle as soon as it can be read, by their handles: spans of theirs, for nobody knows which slots these hold. */
export class HeldSpans {
  readonly #held = new Map<number, Held>();
  /** Those that were held before anybody knew the time. */
  readonly #undated = new Set<number>();
  /** When the next stretch is too old to fire, if it were read. */
  #nextExpiryMs = Number.POSITIVE_INFINITY;

  /** How many schedules have any. */
  get size(): number {
    return this.#held.size;
  }

  has(schedule: number): boolean {
    return this.#held.has(schedule);
  }

  /** The stretches of a schedule. */
  of(schedule: number): readonly HeldSpan[] {
    return this.#held.get(schedule)?.spans ?? [];
  }

  /** @param spans one at least */
  hold(schedule: number, spans: readonly HeldSpan[], sinceMs: number | undefined): void {
    this.#held.set(schedule, { spans, sinceMs });
    if (sinceMs === undefined) this.#undated.add(schedule);
    this.#expectExpiry(spans);
  }

  /** Takes out what is held of a schedule; undefined: nothing is. */
  release(schedule: number): Held | undefined {
    const held = this.#held.get(schedule);
    this.#held.delete(schedule);
    this.#undated.delete(schedule);
    return held;
  }

  /** It is `nowMs`. Answers the schedules that hold anything which could not fire any more: they are to be held anew, without that. */
  advance(nowMs: number): readonly number[] {
    for (const schedule of this.#undated)
      this.#held.set(schedule, { spans: this.of(schedule), sinceMs: nowMs });
    this.#undated.clear();
    if (nowMs <= this.#nextExpiryMs) return [];
    const expired: number[] = [];
    this.#nextExpiryMs = Number.POSITIVE_INFINITY;
    for (const [schedule, { spans }] of this.#held) {
      if (spans.some((each) => isExpired(each, nowMs))) expired.push(schedule);
      else this.#expectExpiry(spans);
    }
    return expired;
  }

  #expectExpiry(spans: readonly HeldSpan[]): void {
    for (const { span } of spans) this.#nextExpiryMs = Math.min(this.#nextExpiryMs, expiryOf(span));
  }
}

/** Whether no slot of it may fire any more. Never while its span is open. */
export function isExpired({ span }: HeldSpan, nowMs: number): boolean {
  return expiryOf(span) < nowMs;
}

function expiryOf({ toMs, jitterMs, catchUpWindowMs }: UnreadableSpan): number {
  return toMs + jitterMs + catchUpWindowMs;
}
