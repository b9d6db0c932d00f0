import { jitterMs } from './jitter.ts';
import type { Recurrence } from './recurrence.ts';
import type { DstEffect } from './recurrence-wall.ts';
import { formatWall } from './zone/civil-date.ts';
import { findZone } from './zone/zone.ts';

/** One line of a preview: a slot, or a time that a calendar has taken away. */
export interface PreviewSlot {
  /** Nominal time in epoch seconds. */
  readonly nominal: number;
  /** When it falls due, in epoch milliseconds: nominal time and jitter. The nominal time if it is excluded. */
  readonly dueMs: number;
  /** Local time of the recurrence's zone, `YYYY-MM-DDTHH:MM:SS`. */
  readonly local: string;
  /** Seconds east of UTC at that time. */
  readonly offsetSeconds: number;
  readonly dstEffect: DstEffect;
  /** The name of the calendar it lies in; undefined for a slot. */
  readonly excludedBy: string | undefined;
}

/** Which part of the future, or the past, a preview shows. */
export interface PreviewRange {
  /** Epoch seconds, exclusive. */
  readonly after: number;
  /** Epoch seconds, inclusive; default: no end. */
  readonly until?: number | undefined;
  /** How many lines at most, excluded ones included. */
  readonly limit: number;
  /** The schedule's jitter in seconds; default 0. */
  readonly jitterSeconds?: number | undefined;
  /** Whether to show the times that calendars take away; default true. */
  readonly showExcluded?: boolean | undefined;
}

/** The slots of a recurrence as a person wants to see them, lazily, in ascending order. */
export function* previewSlots(
  recurrence: Recurrence,
  identity: string,
  range: PreviewRange,
): Generator<PreviewSlot> {
  const zone = findZone(recurrence.timeZone);
  const source = (range.showExcluded ?? true) ? recurrence.beforeExclusions : recurrence;
  const until = range.until ?? Number.POSITIVE_INFINITY;
  let nominal = source.next(range.after);
  for (let shown = 0; shown < range.limit && nominal <= until && Number.isFinite(nominal); shown++) {
    const instant = nominal;
    const calendar = recurrence.exclusions.find((candidate) => candidate.excludes(instant));
    const jitter = calendar ? 0 : jitterMs(recurrence, nominal, range.jitterSeconds ?? 0, identity);
    const offsetSeconds = zone.offsetAt(nominal);
    yield {
      nominal,
      dueMs: nominal * 1000 + jitter,
      local: formatWall(nominal + offsetSeconds),
      offsetSeconds,
      dstEffect: recurrence.dstEffect(nominal),
      excludedBy: calendar?.name,
    };
    nominal = source.next(nominal);
  }
}
