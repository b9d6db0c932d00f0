const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const PART = /(\d+(?:\.\d+)?)(ms|[smhdw])/y;

/**
 * The milliseconds of a duration as people write it: `5s`, `250ms`, `1h30m`, `2d`, and protobuf's own `5400s` and `0.25s`.
 * Undefined when it is none.
 */
export function parseDuration(text: string): number | undefined {
  PART.lastIndex = 0;
  let total = 0;
  while (PART.lastIndex < text.length) {
    const part = PART.exec(text);
    if (part === null) return undefined;
    total += Number(part[1]) * (UNITS[part[2] ?? ''] ?? Number.NaN);
  }
  return text !== '' && Number.isSafeInteger(Math.round(total)) ? Math.round(total) : undefined;
}

/** A duration in its exact parts, as a spec shows it: `5s`, `1h30m`, `2d`. */
export function exactDuration(milliseconds: number): string {
  if (milliseconds === 0) return '0s';
  let left = Math.abs(milliseconds);
  let text = milliseconds < 0 ? '-' : '';
  for (const unit of ['d', 'h', 'm', 's', 'ms']) {
    const size = UNITS[unit] ?? 1;
    const count = Math.floor(left / size);
    if (count > 0) text += `${count}${unit}`;
    left -= count * size;
  }
  return text;
}

/** A duration to be taken in at a glance, in at most two parts: `42 ms`, `3.2 s`, `4 m 05 s`, `12 h 20 m`, `9 d 4 h`, `11 y`. */
export function roughDuration(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  if (days < 100) return `${days} d ${hours % 24} h`;
  return days < 731 ? `${days} d` : `${Math.floor(days / 365.25)} y`;
}

/** As {@link roughDuration}, of whole seconds only: what changes several times a second cannot be read. */
export function calmDuration(seconds: number): string {
  return seconds < 60 ? `${Math.max(0, seconds)} s` : roughDuration(seconds * 1_000);
}

function two(count: number): string {
  return String(count).padStart(2, '0');
}
