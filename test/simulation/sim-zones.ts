/** A stretch of one offset. Instants in whole epoch seconds. */
export interface Stretch {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  /** Seconds that local time is ahead of UTC. */
  readonly offset: number;
}

/** A change of a zone's clocks. */
export interface ClockChange {
  readonly zone: string;
  /** The first second after it. */
  readonly at: number;
}

/** Zones whose clocks change in the simulated years: by an hour or half of one, at night, at midnight, and across it. */
export const CHANGING_ZONES = [
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Havana',
  'America/Santiago',
  'Asia/Beirut',
  'Atlantic/Azores',
  'Pacific/Chatham',
] as const;

/** Zones whose clocks do not. */
export const STEADY_ZONES = ['UTC', 'Asia/Kolkata', 'Asia/Kathmandu'] as const;

export const DAY = 86_400;
const COARSE = 6 * 3_600;
const MINUTE = 60;

const formats = new Map<string, Intl.DateTimeFormat>();

/** Local minus UTC at an instant, in seconds, from the digits of a clock on the wall. */
function offsetAt(zone: string, second: number): number {
  let format = formats.get(zone);
  if (!format) {
    const two = '2-digit';
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: two,
      day: two,
      hour: two,
      minute: two,
      second: two,
    });
    formats.set(zone, format);
  }
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, at = 0] = format
    .format(second * 1000)
    .split(/\D+/)
    .map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, at) / 1000 - second;
}

const known = new Map<string, Map<number, readonly Stretch[]>>();

/** The stretches that touch the UTC day of an instant, the day before or the day after: looked for by quarters of days, then by minutes. */
export function stretchesAround(zone: string, second: number): readonly Stretch[] {
  let days = known.get(zone);
  if (!days) {
    days = new Map();
    known.set(zone, days);
  }
  const day = Math.floor(second / DAY);
  let stretches = days.get(day);
  if (!stretches) {
    stretches = stretchesWithin(zone, (day - 1) * DAY, (day + 2) * DAY);
    days.set(day, stretches);
  }
  return stretches;
}

function stretchesWithin(zone: string, begin: number, end: number): Stretch[] {
  const stretches: Stretch[] = [];
  let from = begin;
  let offset = offsetAt(zone, begin);
  for (let coarse = begin; coarse < end; coarse += COARSE) {
    if (offsetAt(zone, coarse + COARSE) === offset) continue;
    for (let at = coarse + MINUTE; at <= coarse + COARSE; at += MINUTE) {
      const now = offsetAt(zone, at);
      if (now === offset) continue;
      stretches.push({ from, to: at, offset });
      from = at;
      offset = now;
    }
  }
  stretches.push({ from, to: end, offset });
  return stretches;
}

/** What a clock on the wall shows at an instant, as seconds since 1970 of its own. */
export function wallAt(zone: string, second: number): number {
  for (const { from, to, offset } of stretchesAround(zone, second))
    if (second >= from && second < to) return second + offset;
  throw new RangeError(`${zone} has no time at ${second}`);
}

const changes = new Map<string, readonly ClockChange[]>();

/** The changes of a zone's clocks from one instant to another, both multiples of a day. */
export function clockChanges(zone: string, from: number, to: number): readonly ClockChange[] {
  const key = `${zone} ${from} ${to}`;
  let found = changes.get(key);
  if (!found) {
    found = stretchesWithin(zone, from, to)
      .slice(1)
      .map((stretch) => ({ zone, at: stretch.from }));
    changes.set(key, found);
  }
  return found;
}

/** 0 (Sunday) to 6 of a time on the wall. */
export function weekdayOf(wall: number): number {
  return (((Math.floor(wall / DAY) + 4) % 7) + 7) % 7;
}

/** `YYYY-MM-DD` of a time on the wall. */
export function dateOf(wall: number): string {
  return new Date(wall * 1000).toISOString().slice(0, 10);
}

/** `HH:MM:SS` of a time on the wall. */
export function timeOfDay(wall: number): string {
  return new Date(wall * 1000).toISOString().slice(11, 19);
}
