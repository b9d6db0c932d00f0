import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { PreviewedSlot } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { InvalidArgumentError } from 'commander';
import { pad } from '../display-text.ts';
import type { Style } from '../style.ts';

/** A month of the calendar. */
export interface Month {
  readonly year: number;
  /** From 1. */
  readonly month: number;
}

const DAY_MS = 86_400_000;
const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
);
const CELL = 11;
/** No zone is further from UTC than this. */
const FARTHEST_ZONE_MS = 16 * 3_600_000;

/** The parser of `--month`: `2026-03`. */
export function parseMonth(text: string): Month {
  const [, year, month] = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(text) ?? [];
  if (year === undefined || month === undefined || Number(year) < 1970 || Number(year) > 2198) {
    throw new InvalidArgumentError('It is YYYY-MM, from 1970 to 2198.');
  }
  return { year: Number(year), month: Number(month) };
}

/** Instants around the month in whatever zone: what lies outside is left out by its local date. */
export function monthBounds({ year, month }: Month): { from: Timestamp; to: Timestamp } {
  const from = Math.max(0, Date.UTC(year, month - 1, 1) - FARTHEST_ZONE_MS);
  return { from: timestampFromMs(from), to: timestampFromMs(Date.UTC(year, month, 1) + FARTHEST_ZONE_MS) };
}

/** The month as a calendar: under each day the time of its slot, or how many there are, or that all are excluded. */
export function monthLines(
  { year, month }: Month,
  slots: readonly PreviewedSlot[],
  headline: string,
  style: Style,
): string[] {
  const prefix = `${year}-${String(month).padStart(2, '0')}-`;
  const times = new Map<number, string[]>();
  const excluded = new Set<number>();
  for (const { localTime, excludedBy } of slots) {
    if (!localTime.startsWith(prefix)) continue;
    const day = Number(localTime.slice(8, 10));
    if (excludedBy !== '') {
      excluded.add(day);
      continue;
    }
    const list = times.get(day);
    if (list === undefined) times.set(day, [localTime.slice(11, 19)]);
    else list.push(localTime.slice(11, 19));
  }
  const lines = [
    style.strong(headline),
    '',
    `${MONTHS[month - 1]} ${year}`,
    style.faint(
      WEEKDAYS.map((day) => pad(day, CELL))
        .join('')
        .trimEnd(),
    ),
  ];
  const first = (new Date(Date.UTC(year, month - 1, 1)).getUTCDay() + 6) % 7;
  const days = Math.round((Date.UTC(year, month, 1) - Date.UTC(year, month - 1, 1)) / DAY_MS);
  for (let monday = 1 - first; monday <= days; monday += 7) {
    const week = WEEKDAYS.map((_, index) => monday + index).map((day) =>
      day >= 1 && day <= days ? day : undefined,
    );
    lines.push(
      week
        .map((day) => {
          const text = pad(day === undefined ? '' : String(day), CELL);
          return day !== undefined && times.has(day) ? style.strong(text) : style.faint(text);
        })
        .join(''),
      week
        .map((day) => {
          const list = day === undefined ? undefined : times.get(day);
          if (list === undefined && day !== undefined && excluded.has(day)) {
            return style.warn(pad('excluded', CELL));
          }
          return style.accent(pad(cell(list), CELL));
        })
        .join(''),
    );
  }
  return lines.map((line) => line.trimEnd());
}

function cell(times: readonly string[] | undefined): string {
  const [first, ...others] = times ?? [];
  if (first === undefined) return '';
  const shown = first.endsWith(':00') ? first.slice(0, 5) : first;
  if (others.length === 0) return shown;
  return others.length < 10 ? `${shown} +${others.length}` : `${others.length + 1} times`;
}
