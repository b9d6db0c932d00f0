import type { SchedulePlace, UnitKey } from '@carillon/core/assignment.ts';
import type { DueRange } from '@carillon/core/due-ranges.ts';
import type { FeedRow, WatermarkRow } from '@carillon/db/tables/schedule-feed.ts';
import type { QuarantineStretch } from './quarantine-times.ts';
import type { ScheduleRecord, SpanBounds, SpanRecord, UnreadableSpan } from './schedule-record.ts';
import type { TimingCache } from './timing-cache.ts';

/** Where in a term schedules belong. */
export interface Belonging {
  /** The unit of ownership of a schedule. */
  unitOf(place: SchedulePlace): UnitKey;
  /** The stretches of time in which its slots are live. */
  liveOf(place: SchedulePlace): readonly DueRange[];
  /** When a schedule was in quarantine before the present term. */
  quarantinedOf(id: number): readonly QuarantineStretch[];
}

/** What is stored of a schedule that is not in memory yet. */
export interface StoredBefore {
  /** Its own watermark; undefined: it has none. */
  ownOf(id: number): WatermarkRow | undefined;
  /** How far a span of it is settled if it has none: every slot due up to here. -Infinity: nothing is known. */
  settledMsOf(row: FeedRow): number;
}

/** No API lets a larger request through: a larger RunSpec would stall everybody at each of its slots. */
const MAX_RUN_BYTES = 4 * 1024 * 1024;

/** As stored: for the first read of a term. */
export function storedWatermarks(laggards: ReadonlyMap<number, WatermarkRow>): StoredBefore {
  return {
    ownOf: (id) => laggards.get(id),
    settledMsOf: ({ frontierMs }) => frontierMs ?? Number.NEGATIVE_INFINITY,
  };
}

/** For a schedule that turns up later: all it had before is settled, or it would have been in memory. */
export const SETTLED_BEFORE: StoredBefore = {
  ownOf: () => undefined,
  settledMsOf: () => Number.POSITIVE_INFINITY,
};

/** Turns rows of the feed, ordered by schedule and span, into records. A row that cannot be read becomes the record's problem. */
export function* scheduleRecords(
  rows: Iterable<FeedRow>,
  before: StoredBefore,
  belonging: Belonging,
  timings: TimingCache,
): Generator<ScheduleRecord> {
  let group: FeedRow[] = [];
  for (const row of rows) {
    if (group[0] && group[0].id !== row.id) {
      yield scheduleRecord(group, before, belonging, timings);
      group = [];
    }
    group.push(row);
  }
  if (group[0]) yield scheduleRecord(group, before, belonging, timings);
}

function scheduleRecord(
  rows: readonly FeedRow[],
  before: StoredBefore,
  belonging: Belonging,
  timings: TimingCache,
): ScheduleRecord {
  const first = rows[0]!;
  const spans: SpanRecord[] = [];
  const unreadable: UnreadableSpan[] = [];
  const own = before.ownOf(first.id);
  let throughMs = own?.throughMs ?? Number.NEGATIVE_INFINITY;
  let frontierMs = Number.NEGATIVE_INFINITY;
  let seenSpan = 0;
  let payloadBytes = 0;
  let problem: string | undefined;
  for (const row of rows) {
    if (row.span === null) continue;
    let settledMs = Number.NEGATIVE_INFINITY;
    if (row.seen) {
      seenSpan = row.span;
      settledMs = own?.throughMs ?? before.settledMsOf(row);
      throughMs = Math.max(throughMs, settledMs);
      frontierMs = Math.max(frontierMs, row.frontierMs ?? Number.NEGATIVE_INFINITY);
    }
    payloadBytes = Math.max(payloadBytes, row.payloadBytes);
    const bounds: SpanBounds = {
      span: row.span,
      state: row.state,
      fromMs: row.fromMs,
      toMs: row.toMs ?? Number.POSITIVE_INFINITY,
      endReason: row.endReason ?? undefined,
      settledMs,
    };
    try {
      if (row.payloadBytes > MAX_RUN_BYTES)
        throw new RangeError(`its run has ${row.payloadBytes} bytes, of at most ${MAX_RUN_BYTES}`);
      spans.push({
        ...bounds,
        revision: row.revision,
        timing: timings.get(row.timing, `${row.project}/${row.domain}/${row.scheduleId}`, row.anchorMs),
      });
    } catch (error) {
      unreadable.push({ ...bounds, revision: row.revision, ...timings.boundsOf(row.timing) });
      problem ??= `revision ${row.revision}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return {
    id: first.id,
    uidBits: first.uidBits,
    generation: first.generation,
    unit: belonging.unitOf(first),
    live: belonging.liveOf(first),
    quarantined: belonging.quarantinedOf(first.id),
    project: first.project,
    payloadBytes,
    spans,
    watermark: { throughMs, settledAbove: own?.settledAbove ?? [], own: own !== undefined, frontierMs },
    seenSpan,
    unreadable,
    problem,
  };
}
