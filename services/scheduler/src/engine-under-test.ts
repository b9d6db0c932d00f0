import { liveRanges } from '@carillon/core/live-terms.ts';
import { compileRecurrence } from '@carillon/core/recurrence.ts';
import { Engine } from './engine.ts';
import type { ScheduleRecord, SpanRecord, StoredWatermark, UnreadableSpan } from './schedule-record.ts';
import type { Slot, WriteOff } from './slot.ts';
import type { Timing } from './timing.ts';

/** A day. */
export const DAY_MS = 86_400_000;
/** A watermark of a schedule of which nothing is settled. */
export const NOTHING_YET = { throughMs: Number.NEGATIVE_INFINITY, settledAbove: [], own: false };

/** A timing that fires every so many seconds. */
export function timing(everySeconds: number, changes: Partial<Timing> = {}): Timing {
  return {
    recurrence: compileRecurrence({ pattern: { kind: 'rate', everySeconds, anchor: 0 } }, 'p/d/s'),
    jitterSec: 0,
    identity: 'p/d/s',
    catchUpWindowMs: DAY_MS,
    catchUpPolicy: 'ALL',
    catchUpLimit: Number.POSITIVE_INFINITY,
    overlap: undefined,
    nominalTimeInput: '',
    ...changes,
  };
}

/** The first span of a schedule, open from the beginning of time. */
export function span(changes: Partial<SpanRecord> = {}): SpanRecord {
  return {
    span: 1,
    revision: 1,
    state: 'ACTIVE',
    fromMs: 0,
    toMs: Number.POSITIVE_INFINITY,
    endReason: undefined,
    timing: timing(1),
    settledMs: Number.NEGATIVE_INFINITY,
    ...changes,
  };
}

/** The same of a revision that cannot be read. */
export function unreadableSpan(changes: Partial<UnreadableSpan> = {}): UnreadableSpan {
  const { timing: _, ...bounds } = span();
  return { ...bounds, jitterMs: 0, catchUpWindowMs: DAY_MS, ...changes };
}

/** A record whose watermark goes for all of its spans. */
export function record(
  changes: Partial<Omit<ScheduleRecord, 'watermark'>> & {
    readonly watermark?: Omit<StoredWatermark, 'frontierMs'>;
  } = {},
): ScheduleRecord {
  const { watermark = NOTHING_YET, spans = [span()], unreadable = [], ...rest } = changes;
  const { throughMs } = watermark;
  const frontierMs = watermark.own ? Number.NEGATIVE_INFINITY : throughMs;
  return {
    id: 1,
    uidBits: 0,
    generation: 1,
    unit: 7,
    project: 'p',
    payloadBytes: 100,
    live: liveRanges([], 0),
    quarantined: [],
    spans: spans.map((each) => ({ ...each, settledMs: throughMs })),
    watermark: { ...watermark, frontierMs },
    seenSpan: 0,
    unreadable: unreadable.map((each) => ({ ...each, settledMs: throughMs })),
    problem: undefined,
    ...rest,
  };
}

/** An engine, what it wrote off, and shorthands that drive it. */
export function engineAt() {
  const writeOffs: WriteOff[] = [];
  const cleared: number[] = [];
  const engine = new Engine([], {
    writeOff: (writeOff) => writeOffs.push(writeOff),
    cleared: (id) => cleared.push(id),
  });
  const take = (limit: number, nowMs: number, backlog = limit): Slot[] => {
    while (engine.advance(nowMs));
    return engine.take(limit, backlog, 1_000_000, nowMs);
  };
  const nominals = (limit: number, nowMs: number): number[] =>
    take(limit, nowMs).map((slot) => slot.nominalSec);
  return { engine, writeOffs, cleared, take, nominals };
}
