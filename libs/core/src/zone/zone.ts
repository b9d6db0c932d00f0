import { SpecError } from '../recurrence-error.ts';
import { FIRST_INSTANT, LAST_INSTANT } from './civil-date.ts';
import { ZoneSegment } from './zone-segment.ts';

/** No zone was ever further from UTC than this (the farthest are Manila and Juneau before 1845 and 1867). */
export const MAX_OFFSET_SECONDS = 57_600;

// A page is about 388 days: small enough to build in a fraction of a millisecond, when somebody first asks.
const PAGE_SECONDS = 2 ** 25;
// Up to 2106.
const NEAR_PAGES = 128;
// Two changes of the clocks were never closer than 3.98 days (Freetown 1939), since 1970 never closer than 6.9; a
// sweep over all zones in the tests holds this to account whenever the zone data change.
const PROBE_SECONDS = 3 * 86_400;
// The greatest shift is a whole day (a date skipped), so what lies two days beyond the page cannot act inside it.
const MARGIN_SECONDS = 2 * 86_400;

const IANA_NAME = /^[A-Za-z][A-Za-z0-9_+-]*(?:\/[A-Za-z0-9_+-]+)*$/;
// Names that ICU knows from old Java, which no zone database has and which mean different things to different people.
const NOT_IANA =
  /^(?:ACT|AET|AGT|ART|AST|BET|BST|CAT|CNT|CST|CTT|EAT|ECT|IET|IST|JST|MIT|NET|NST|PLT|PNT|PRT|PST|SST|VST|SystemV\/.*|Etc\/Unknown)$/i;

const NEVER = Number.POSITIVE_INFINITY;
const NOWHERE = new ZoneSegment(
  { from: NEVER, to: NEVER },
  0,
  { at: NEVER, before: 0 },
  { at: NEVER, after: 0 },
);

/**
 * An IANA time zone: a table of its offsets, found from `Intl` page by page as they are asked for. Immutable to
 * the observer; share one per name through {@link findZone}.
 */
export class Zone {
  /** The name as IANA spells it, or the link that was asked for. */
  readonly name: string;
  /** True for UTC and its other names: never a change of the clocks, offset 0. */
  readonly isUtc: boolean;
  readonly #format: Intl.DateTimeFormat;
  // The pages since 1970 in an array, which is quicker; the others, which are rare, in a map.
  readonly #near: (readonly ZoneSegment[] | undefined)[] = [];
  readonly #far = new Map<number, readonly ZoneSegment[]>();
  #recent: ZoneSegment = NOWHERE;

  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      timeZoneName: 'longOffset',
      year: 'numeric',
    });
    this.name = name;
    this.isUtc = this.#format.resolvedOptions().timeZone === 'UTC';
  }

  /** The segment of the table that answers for an instant (epoch seconds, whole or not). */
  locate(instant: number): ZoneSegment {
    const recent = this.#recent;
    if (instant >= recent.from && instant < recent.to) return recent;
    return this.#find(instant);
  }

  /** Seconds east of UTC at an instant (epoch seconds). */
  offsetAt(instant: number): number {
    return this.locate(instant).offset;
  }

  #find(instant: number): ZoneSegment {
    const number = Math.floor(instant / PAGE_SECONDS);
    const near = number >= 0 && number < NEAR_PAGES;
    let page = near ? this.#near[number] : this.#far.get(number);
    if (page === undefined) {
      page = this.#build(number);
      if (near) this.#near[number] = page;
      else this.#far.set(number, page);
    }
    let index = page.length - 1;
    while (index > 0 && instant < page[index]!.from) index--;
    this.#recent = page[index]!;
    return this.#recent;
  }

  #build(number: number): readonly ZoneSegment[] {
    const page = {
      from: Math.max(number * PAGE_SECONDS, FIRST_INSTANT),
      to: Math.min((number + 1) * PAGE_SECONDS, LAST_INSTANT + 1),
    };
    const end = page.to + MARGIN_SECONDS;
    let at = page.from - MARGIN_SECONDS;
    let offset = this.#probe(at);
    const changes: { at: number; before: number; after: number }[] = [];
    while (at < end) {
      const next = Math.min(at + PROBE_SECONDS, end);
      const after = this.#probe(next);
      if (after !== offset) changes.push({ at: this.#bisect(at, next, offset), before: offset, after });
      at = next;
      offset = after;
    }
    const first = {
      at: Number.NEGATIVE_INFINITY,
      before: changes[0]?.before ?? offset,
      after: changes[0]?.before ?? offset,
    };
    const last = { at: Number.POSITIVE_INFINITY, before: offset, after: offset };
    const segments: ZoneSegment[] = [];
    for (let i = 0; i <= changes.length; i++) {
      const opening = changes[i - 1] ?? first;
      const closing = changes[i] ?? last;
      if (closing.at <= page.from || opening.at >= page.to) continue;
      segments.push(new ZoneSegment(page, opening.after, opening, closing));
    }
    return segments;
  }

  /** The first instant in (from, to] whose offset is no longer `offset`. */
  #bisect(from: number, to: number, offset: number): number {
    let low = from;
    let high = to;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#probe(middle) === offset) low = middle;
      else high = middle;
    }
    return high;
  }

  #probe(instant: number): number {
    // "2026, GMT+05:30", "1969, GMT-00:44:30", or just "2026, GMT" for an offset of 0.
    const text = this.#format.format(instant * 1000);
    const sign = text.lastIndexOf('GMT') + 3;
    if (sign === text.length) return 0;
    const seconds =
      Number(text.slice(sign + 1, sign + 3)) * 3600 +
      Number(text.slice(sign + 4, sign + 6)) * 60 +
      Number(text.slice(sign + 7));
    return text.charCodeAt(sign) === 43 /* + */ ? seconds : -seconds;
  }
}

const zones = new Map<string, Zone>();

/**
 * The shared table of an IANA zone; case does not matter. Offsets (`+01:00`) and abbreviations that are no IANA
 * names (`PST`) are a {@link SpecError}.
 */
export function findZone(name: string): Zone {
  const known = zones.get(name);
  if (known !== undefined) return known;
  const spelling = spell(name);
  const zone = zones.get(spelling) ?? new Zone(spelling);
  zones.set(spelling, zone);
  return zone;
}

function spell(name: string): string {
  const fault = { kind: 'MALFORMED', field: 'time zone' } as const;
  if (!IANA_NAME.test(name) || NOT_IANA.test(name)) {
    const advice = suggestion(name);
    throw new SpecError({ ...fault, problem: `"${excerpt(name)}" is no IANA zone name`, advice });
  }
  let canonical: string;
  try {
    canonical = new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SpecError({
      ...fault,
      problem: `"${excerpt(name)}" is not in the zone database`,
      advice: suggestion(name),
    });
  }
  // A link such as Asia/Kolkata keeps the name its user knows it by.
  return canonical.toLowerCase() === name.toLowerCase() ? canonical : name;
}

function excerpt(name: string): string {
  return name.length > 64 ? `${name.slice(0, 64)}…` : name;
}

function suggestion(name: string): string {
  const wanted = name.trim().toLowerCase().replaceAll(' ', '_');
  const city = wanted.slice(wanted.lastIndexOf('/') + 1);
  if (city !== '') {
    for (const known of Intl.supportedValuesOf('timeZone')) {
      const lower = known.toLowerCase();
      if (lower.slice(lower.lastIndexOf('/') + 1) === city) return `did you mean ${known}?`;
    }
  }
  return 'give a name such as Europe/Berlin, America/New_York or UTC';
}
