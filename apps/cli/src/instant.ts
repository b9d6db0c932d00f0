import { type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { parseRfc3339 } from '@carillon/core/rfc3339.ts';
import { parseDuration } from './duration.ts';
import { usageError } from './exit-code.ts';

const TIME = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/i;

/**
 * An instant as people give it: RFC 3339, the same without an offset or without a time (UTC then), `now`, or a distance
 * from now as `+2h` and `-30m`.
 * @param also further forms that the option takes, for the message.
 * @throws CliError when it is none; `option` names it in the message.
 */
export function parseInstant(text: string, option: string, nowMs: number, also = ''): Timestamp {
  if (text === 'now') return timestampFromMs(nowMs);
  const sign = text[0];
  if (sign === '+' || sign === '-') {
    const distance = parseDuration(text.slice(1));
    if (distance !== undefined) return timestampFromMs(nowMs + (sign === '+' ? distance : -distance));
  }
  const time = TIME.exec(text);
  if (time !== null) {
    const [, date, minutes = '00:00', seconds = ':00', offset = 'Z'] = time;
    const micros = parseRfc3339(`${date}T${minutes}${seconds}${offset}`);
    if (micros !== undefined) return timestampFromMs(Math.floor(micros / 1_000));
  }
  throw usageError(
    `${option}: "${text}" is not a time`,
    `Give ${also}RFC 3339 (2026-03-29T01:30:00Z, 2026-03-29), "now", or a distance from now (+2h, -30m).`,
  );
}

/** `2026-03-29 01:30:00Z`; empty when unset. */
export function utcText(instant: Timestamp | undefined): string {
  return instant === undefined ? '' : utcTextOfMs(timestampMs(instant));
}

/** As {@link utcText}, from milliseconds since the epoch. */
export function utcTextOfMs(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** The wall clock of a zone with its abbreviation or offset, as `2026-03-29 03:30:00 GMT+2`. */
export function localText(ms: number, timeZone: string): string {
  const parts = new Map(
    zoneFormat(timeZone)
      .formatToParts(ms)
      .map((part) => [part.type, part.value]),
  );
  const part = (type: Intl.DateTimeFormatPartTypes): string => parts.get(type) ?? '';
  const date = `${part('year')}-${part('month')}-${part('day')}`;
  return `${date} ${part('hour')}:${part('minute')}:${part('second')} ${part('timeZoneName')}`;
}

/** The time of day in a zone, as `03:30:00`. */
export function clockText(ms: number, timeZone: string): string {
  return localText(ms, timeZone).slice(11, 19);
}

/** UTC, and the local zone's time beside it where that differs. Empty when unset. */
export function bothText(instant: Timestamp | undefined, timeZone: string): string {
  if (instant === undefined) return '';
  const utc = utcText(instant);
  return timeZone === 'UTC' || timeZone === 'Etc/UTC'
    ? utc
    : `${utc}  (${localText(timestampMs(instant), timeZone)})`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function zoneFormat(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-GB', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      timeZoneName: 'short',
    });
    formats.set(timeZone, format);
  }
  return format;
}
