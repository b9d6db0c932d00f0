import { storableText } from '@carillon/core/storable-text.ts';
import { dueOf, firstSlotAfter, newestSlots, type Timing } from './timing.ts';

/** A slot that was handed out and is not settled yet. */
export interface Slot {
  readonly kind: 'slot';
  /** The schedule's handle; of no meaning for a redrive. */
  readonly schedule: number;
  /** The schedule's id. */
  readonly id: number;
  readonly revision: number;
  readonly nominalSec: number;
  readonly dueMs: number;
  readonly timing: Timing;
  /** Whether it is live, or was missed. */
  readonly live: boolean;
  /** A dead slot that is sent again because somebody asked for it; undefined for any other. */
  readonly redrive?: {
    /** When that was, by the database's clock: stops of its schedule count from here on. */
    readonly requestMs: number;
    /** About how many bytes its run adds to a request. */
    readonly payloadBytes: number;
    readonly project: string;
  };
  /** Whether this very leader may have sent it already, as a slot of a span that has given way since. */
  readonly maybeSentBefore: boolean;
  /** How many spans have held it, as far as the feed has been read: a last look that found none may be older than the newest. */
  spans: number;
  /** How often it was sent. */
  attempts: number;
  /** When it was first sent, by database time; 0: not yet. */
  firedAtMs: number;
  /**
   * The `not_after` of the last attempt, whatever was answered: another copy of it may be under way; 0: it was never sent. While it has not
   * passed, a run may still be inserted.
   */
  notAfterMs: number;
  /** The largest batch it may travel in: halved when a batch fails as a whole. */
  batchLimit: number;
}

/** Why slots get no run. */
export interface Verdict {
  readonly outcome: 'SKIPPED' | 'MISSED' | 'DEAD';
  /** A stable code in UPPER_SNAKE_CASE. */
  readonly reason: string;
  /** For people. */
  readonly message: string;
}

/** What became of a slot whose run stands there as skipped. */
export const OVERLAPPED = {
  outcome: 'SKIPPED',
  reason: 'OVERLAP',
  message: 'its overlap policy skipped it: its run says why',
} as const satisfies Verdict;

/** How long a verdict's message may be, in characters. */
const MOST_CHARACTERS = 1_000;

/** A verdict's message from what others said: no longer than is sensible, and of characters that can be stored. */
export function verdictMessage(text: string): string {
  return storableText(text, MOST_CHARACTERS);
}

/** Slots of one revision that are to be settled without a run. */
export interface WriteOff {
  readonly kind: 'write-off';
  /** The span that it was planned from: withdrawn and planned anew when the schedule changes. Undefined: a slot that was given up. */
  readonly span: number | undefined;
  readonly schedule: number;
  readonly id: number;
  readonly revision: number;
  /** Undefined: of a revision that cannot be read; nobody knows which slots these are. */
  readonly timing: Timing | undefined;
  /** The first and the last possible nominal time. */
  readonly nominalSec: number;
  readonly lastNominalSec: number;
  /** The due time of the first, and the last due time that counts. */
  readonly dueMs: number;
  readonly lastDueMs: number;
  readonly verdict: Verdict;
  /** The `not_after` of the last attempt of our own; 0: there was none. */
  readonly notAfterMs: number;
  /**
   * Slots up to this nominal time, in milliseconds, may have been sent by this very leader, as those of a span that has given way since;
   * -Infinity: none. Not by due time, for that was another's.
   */
  readonly sentThroughMs: number;
}

/** What is handed out and unsettled: it holds its schedule's watermark. */
export type Outstanding = Slot | WriteOff;

/** The due range in which an outstanding item keeps slots unsettled: through its last due time. */
export function lastDueOf(item: Outstanding): number {
  if (item.kind === 'slot') return item.dueMs;
  if (item.timing === undefined) return item.lastDueMs;
  return lastDueWithin(item.timing, item.nominalSec, item.lastNominalSec, item.lastDueMs);
}

/**
 * When the last slot falls due that lies from the slot `nominalSec` to `lastNominalSec`, and falls due by `lastDueMs`. A bound would not
 * do in its place: what falls due between the two may be another span's.
 */
export function lastDueWithin(
  timing: Timing,
  nominalSec: number,
  lastNominalSec: number,
  lastDueMs: number,
): number {
  const { oldest: last } = newestSlots(
    timing,
    nominalSec - 1,
    lastNominalSec,
    Number.NEGATIVE_INFINITY,
    lastDueMs,
    1,
  );
  return dueOf(timing, last);
}

/** A slot that is given up, as a write-off of its own. */
export function writeOffOf(slot: Slot, verdict: Verdict): WriteOff {
  return {
    kind: 'write-off',
    span: undefined,
    schedule: slot.schedule,
    id: slot.id,
    revision: slot.revision,
    timing: slot.timing,
    nominalSec: slot.nominalSec,
    lastNominalSec: slot.nominalSec,
    dueMs: slot.dueMs,
    lastDueMs: slot.dueMs,
    verdict,
    notAfterMs: slot.notAfterMs,
    sentThroughMs: slot.maybeSentBefore ? slot.nominalSec * 1000 : Number.NEGATIVE_INFINITY,
  };
}

/** The nominal times of a write-off, lazily: a 1 s schedule that was down for a month has 2.6 million. None of a revision that cannot be read. */
export function* nominalTimesOf(writeOff: WriteOff): Generator<number> {
  const { timing, lastNominalSec, lastDueMs } = writeOff;
  if (timing === undefined) return;
  let nominal = writeOff.nominalSec;
  while (nominal <= lastNominalSec && dueOf(timing, nominal) <= lastDueMs) {
    yield nominal;
    nominal = firstSlotAfter(timing, nominal, Number.NEGATIVE_INFINITY);
  }
}
