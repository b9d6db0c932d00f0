import { formatWall } from '@carillon/core/zone/civil-date.ts';
import { findZone } from '@carillon/core/zone/zone.ts';

/** An instant in epoch seconds on the wall clock of a zone, as RFC 3339 with its offset. */
export function localTimeAt(instantSec: number, timeZone: string): string {
  const offsetSec = findZone(timeZone).offsetAt(instantSec);
  return formatWall(instantSec + offsetSec) + formatOffset(offsetSec);
}

/** An offset as RFC 3339 writes it, which has no seconds for the few zones that had some, until 1972. */
export function formatOffset(seconds: number): string {
  const minutes = Math.trunc(Math.abs(seconds) / 60);
  const [hour, minute] = [Math.trunc(minutes / 60), minutes % 60].map((part) =>
    String(part).padStart(2, '0'),
  );
  return `${seconds < 0 ? '-' : '+'}${hour}:${minute}`;
}
