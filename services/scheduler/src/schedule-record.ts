import type { UnitKey } from '@carillon/core/assignment.ts';
import type { DueRange } from '@carillon/core/due-ranges.ts';
import type { QuarantineStretch } from './quarantine-times.ts';
import type { Timing } from './timing.ts';

/** When a span holds its schedule's slots, and what ended it. */
export interface SpanBounds {
  /** Numbers the schedule's spans, from 1. */
  readonly span: number;
  readonly state: 'ACTIVE' | 'PAUSED';
  /** Slots lie strictly after this, in epoch milliseconds, */
  readonly fromMs: number;
  /** and up to this; Infinity while it is open. */
  readonly toMs: number;
  /** What ended it; undefined while it is open. */
  readonly endReason: 'REVISED' | 'PAUSED' | 'UNPAUSED' | 'DEACTIVATED' | 'DELETED' | undefined;
  /** Every slot of it due up to here is settled, for a schedule that is not in memory yet. -Infinity: nothing is known. */
  readonly settledMs: number;
}

/** A span as the engine plans by it. */
export interface SpanRecord extends SpanBounds {
  readonly revision: number;
  readonly timing: Timing;
}

/** A span whose slots nobody knows, because its revision cannot be read. */
export interface UnreadableSpan extends SpanBounds {
  readonly revision: number;
  /** As far as that can be read: how long after its nominal time a slot may fall due, and how late it may fire. Default: 0, and 24 hours. */
  readonly jitterMs: number;
  readonly catchUpWindowMs: number;
}

/** How far a schedule is settled, as stored. */
export interface StoredWatermark {
  /** Every slot due up to here is settled, of spans that do not say less. -Infinity: nothing is known. */
  readonly throughMs: number;
  /** What is settled above. */
  readonly settledAbove: readonly DueRange[];
  /** Whether it stands in a row of the schedule's own. */
  readonly own: boolean;
  /** How far the frontiers of its units speak for it, now and under earlier assignments; a row of its own overrules them. -Infinity: none does. */
  readonly frontierMs: number;
}

/** A schedule as the feed reads it. */
export interface ScheduleRecord {
  readonly id: number;
  /** Tells it from another one that is given its id by a database that has lost it. */
  readonly uidBits: number;
  readonly generation: number;
  /** Its unit of ownership. */
  readonly unit: UnitKey;
  /** The stretches of time in which its slots are live (`live-terms.ts`). */
  readonly live: readonly DueRange[];
  /** When it was in quarantine before the present term. */
  readonly quarantined: readonly QuarantineStretch[];
  readonly project: string;
  /** About how many bytes a run of it adds to a request. */
  readonly payloadBytes: number;
  /** Its spans, oldest first, as far back as anything may be unsettled. */
  readonly spans: readonly SpanRecord[];
  /** Where to start, for a schedule that is not in memory yet. */
  readonly watermark: StoredWatermark;
  /** The newest span that the watermark speaks of; 0: of none. */
  readonly seenSpan: number;
  /** Spans that cannot be planned, oldest first: what they hold stays unsettled, and the others go on. */
  readonly unreadable: readonly UnreadableSpan[];
  /** Why it is quarantined; undefined: it is not. */
  readonly problem: string | undefined;
}
