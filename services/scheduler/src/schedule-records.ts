import type { FeedRow, StoredWatermarks } from '@carillon/db/tables/schedule-feed.ts';
import type { ScheduleRecord, SpanBounds, SpanRecord, StoredWatermark } from './schedule-record.ts';
import type { TimingCache } from './timing-cache.ts';

/** Where a schedule starts that is not in memory yet. */
export type WatermarkOf = (id: number, unit: number) => StoredWatermark;

/** Watermarks as they were stored: for the first read of a term. */
export function storedWatermarks({ frontiers, laggards }: StoredWatermarks): WatermarkOf {
  return (id, unit) => {
    const own = laggards.get(id);
    if (own) return { ...own, own: true };
    return { throughMs: frontiers.get(unit) ?? Number.NEGATIVE_INFINITY, settledAbove: [], own: false };
  };
}

/** For a schedule that turns up later: all it had before is settled, or it would have been in memory. */
export const SETTLED_BEFORE: WatermarkOf = () => ({
  throughMs: Number.POSITIVE_INFINITY,
  settledAbove: [],
  own: false,
});

/** Turns rows of the feed, ordered by schedule and span, into records. A row that cannot be read becomes the record's problem. */
export function* scheduleRecords(
  rows: Iterable<FeedRow>,
  watermarkOf: WatermarkOf,
  timings: TimingCache,
): Generator<ScheduleRecord> {
  let group: FeedRow[] = [];
  for (const row of rows) {
    if (group[0] && group[0].id !== row.id) {
      yield scheduleRecord(group, watermarkOf, timings);
      group = [];
    }
    group.push(row);
  }
  if (group[0]) yield scheduleRecord(group, watermarkOf, timings);
}

function scheduleRecord(
  rows: readonly FeedRow[],
  watermarkOf: WatermarkOf,
  timings: TimingCache,
): ScheduleRecord {
  const first = rows[0]!;
  const spans: SpanRecord[] = [];
  const unreadable: SpanBounds[] = [];
  let seenSpan = 0;
  let payloadBytes = 0;
  let problem: string | undefined;
  for (const row of rows) {
    if (row.span === null) continue;
    if (row.seen) seenSpan = row.span;
    payloadBytes = Math.max(payloadBytes, row.payloadBytes);
    const bounds: SpanBounds = {
      span: row.span,
      state: row.state,
      fromMs: row.fromMs,
      toMs: row.toMs ?? Number.POSITIVE_INFINITY,
      endReason: row.endReason ?? undefined,
    };
    try {
      spans.push({
        ...bounds,
        revision: row.revision,
        timing: timings.get(row.timing, `${row.project}/${row.domain}/${row.scheduleId}`, row.anchorMs),
      });
    } catch (error) {
      unreadable.push(bounds);
      problem ??= `revision ${row.revision}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return {
    id: first.id,
    generation: first.generation,
    unit: first.hashSlot,
    project: first.project,
    payloadBytes,
    spans,
    watermark: watermarkOf(first.id, first.hashSlot),
    seenSpan,
    unreadable,
    problem,
  };
}
