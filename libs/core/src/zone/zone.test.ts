import { describe, expect, it } from 'vitest';
import { SpecError } from '../recurrence-error.ts';
import { ZONE_DATABASE_VERSION } from './database-version.ts';
import { findZone, MAX_OFFSET_SECONDS, Zone } from './zone.ts';

const seed = Number(process.env.CARILLON_SEED ?? Date.now() % 2 ** 31);
const sweepAll = process.env.CARILLON_SWEEP === 'all';
const ZONES = Intl.supportedValuesOf('timeZone');
console.info(`zone: CARILLON_SEED=${seed}${sweepAll ? ' CARILLON_SWEEP=all' : ''}`);

/** Another way to an offset than the engine's: the digits of the wall clock. */
function offsetByDigits(format: Intl.DateTimeFormat, instant: number): number {
  const [month, day, year, hour, minute, second] = format
    .format(instant * 1000)
    .split(/\D+/)
    .map(Number);
  return Date.UTC(year!, month! - 1, day!, hour!, minute!, second!) / 1000 - instant;
}

function digits(timeZone: string): Intl.DateTimeFormat {
  const two = '2-digit';
  const parts = { year: 'numeric', month: two, day: two, hour: two, minute: two, second: two } as const;
  return new Intl.DateTimeFormat('en-US', { timeZone, hourCycle: 'h23', ...parts });
}

interface Change {
  readonly at: number;
  readonly before: number;
  readonly after: number;
}

/** The changes a zone's table has between two instants. */
function changesOf(zone: Zone, from: number, to: number): Change[] {
  const changes: Change[] = [];
  for (let segment = zone.locate(from); segment.from < to; segment = zone.locate(segment.to)) {
    if (segment.openedAt >= from && segment.openedAt === segment.from) {
      changes.push({ at: segment.openedAt, before: segment.offsetBefore, after: segment.offset });
    }
  }
  return changes;
}

const sample = sweepAll
  ? ZONES
  : Array.from({ length: 25 }, (_, i) => ZONES[(seed + i * 97) % ZONES.length]!);

describe('the table of a zone', () => {
  it.each([...new Set(sample)])('has the offsets of %s', { timeout: 60_000 }, (name) => {
    const zone = new Zone(name);
    const format = digits(name);
    const [from, to] = [Date.UTC(1969, 0, 1) / 1000, Date.UTC(2101, 0, 1) / 1000];
    // A prime number of seconds, so that every time of day is met; twice a day on the whole when sweeping.
    const step = sweepAll ? 43_201 : 345_601;
    for (let t = from; t < to; t += step) {
      if (zone.offsetAt(t) !== offsetByDigits(format, t))
        expect.fail(`${name} at ${new Date(t * 1000).toISOString()}`);
    }
    for (const { at, before, after } of changesOf(zone, from, to)) {
      expect(offsetByDigits(format, at - 1)).toBe(before);
      expect(offsetByDigits(format, at)).toBe(after);
    }
  });

  it('rests on what is true of the zone data: no two changes within three days, no shift over a day, no offset over 16 hours', {
    timeout: 120_000,
  }, () => {
    for (const name of sweepAll ? ZONES : sample) {
      const zone = findZone(name);
      let last = Number.NEGATIVE_INFINITY;
      for (const { at, before, after } of changesOf(
        zone,
        Date.UTC(1840, 0, 1) / 1000,
        Date.UTC(2101, 0, 1) / 1000,
      )) {
        expect(at - last).toBeGreaterThan(3 * 86_400);
        expect(Math.abs(after - before)).toBeLessThanOrEqual(86_400);
        expect(Math.abs(after)).toBeLessThan(MAX_OFFSET_SECONDS);
        last = at;
      }
    }
  });

  it.each([
    ['Europe/Berlin', '2026-03-29T01:00:00Z', 3600, 7200],
    ['Australia/Lord_Howe', '2025-10-04T15:30:00Z', 37_800, 39_600],
    ['Pacific/Apia', '2011-12-30T10:00:00Z', -36_000, 50_400],
    ['Africa/Monrovia', '1972-01-07T00:44:30Z', -2670, 0],
    ['Africa/Freetown', '1939-09-05T00:20:00Z', undefined, undefined],
    ['America/Sao_Paulo', '2018-11-04T03:00:00Z', -10_800, -7200],
    ['Antarctica/Troll', '2025-03-30T01:00:00Z', 0, 7200],
    ['Asia/Manila', '1844-12-31T15:56:08Z', undefined, undefined],
  ])('knows %s at %s', (name, text, before, after) => {
    const at = Date.parse(text) / 1000;
    const zone = findZone(name);
    const format = digits(name);
    expect(zone.offsetAt(at - 1)).toBe(before ?? offsetByDigits(format, at - 1));
    expect(zone.offsetAt(at)).toBe(after ?? offsetByDigits(format, at));
  });

  it('finds four changes a year where there are four', () => {
    const [from, to] = [Date.UTC(2014, 0, 1) / 1000, Date.UTC(2015, 0, 1) / 1000];
    expect(changesOf(findZone('Africa/Cairo'), from, to)).toHaveLength(4);
    expect(changesOf(findZone('Africa/Casablanca'), from, to)).toHaveLength(4);
  });

  it('does not depend on the order of questions', () => {
    const instants = Array.from({ length: 300 }, (_, i) => ((i * 7_919_317 + seed) % 400_000) * 10_007);
    const forwards = new Zone('America/New_York');
    const backwards = new Zone('America/New_York');
    const expected = instants.map((t) => forwards.offsetAt(t));
    expect([...instants].reverse().map((t) => backwards.offsetAt(t))).toEqual(expected.reverse());
  });
});

describe('names of zones', () => {
  it('are shared, whatever their case', () => {
    expect(findZone('europe/BERLIN')).toBe(findZone('Europe/Berlin'));
    expect(findZone('europe/BERLIN').name).toBe('Europe/Berlin');
  });

  it('stay as given when they are links', () => {
    expect(findZone('Asia/Kolkata').name).toBe('Asia/Kolkata');
  });

  it.each(['UTC', 'Etc/UTC', 'GMT', 'Etc/Zulu', 'utc'])('%s is UTC', (name) => {
    expect(findZone(name).isUtc).toBe(true);
  });

  it('Europe/London is not UTC, though its winter is', () => {
    expect(findZone('Europe/London').isUtc).toBe(false);
  });

  it.each([
    '+01:00',
    '-0500',
    'PST',
    'IST',
    'bst',
    'Mars/Olympus',
    '',
    ' UTC',
    'Etc/Unknown',
    'a'.repeat(300),
  ])('%j is refused', (name) => {
    expect(() => findZone(name)).toThrow(SpecError);
  });

  it('a city is told its zone', () => {
    expect(() => findZone('new york')).toThrow('did you mean America/New_York?');
  });

  it('come from a database with a version', () => {
    expect(ZONE_DATABASE_VERSION).toMatch(/^20\d\d[a-z]+$/);
  });
});
