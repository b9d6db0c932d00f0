import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileRecurrence, type Recurrence } from './recurrence.ts';
import { SpecError } from './recurrence-error.ts';
import { type OracleSpec, oracleBetween } from './recurrence-oracle.ts';
import type { CronDialect } from './recurrence-spec.ts';

/**
 * The engine against the brute-force walk, which shares no code with it. By default a sample; the sweep over every
 * zone and every change of the clocks from 1970 to 2100 takes some minutes:
 *
 *   CARILLON_SWEEP=all npx vitest run --project core recurrence-differential
 *
 * CARILLON_SEED repeats a run.
 */
const seed = Number(process.env.CARILLON_SEED ?? Date.now() % 2 ** 31);
const sweepAll = process.env.CARILLON_SWEEP === 'all';
const ZONES = Intl.supportedValuesOf('timeZone');
const DAY = 86_400;
const GAPS = ['AUTO', 'NEXT_VALID', 'SHIFT', 'SKIP'] as const;
const OVERLAPS = ['AUTO', 'FIRST', 'LAST', 'BOTH'] as const;
console.info(`recurrence-differential: CARILLON_SEED=${seed}${sweepAll ? ' CARILLON_SWEEP=all' : ''}`);

/** A small generator of its own, so that a seed means the same whatever fast-check's version. */
function randomFrom(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const random = randomFrom(seed);
function pick<T>(list: readonly T[]): T {
  return list[Math.floor(random() * list.length)]!;
}

function compile(spec: OracleSpec): Recurrence {
  const { identity = '', ...rest } = spec;
  return compileRecurrence({ pattern: { kind: 'cron', ...rest } }, identity);
}

/** The engine's slots in (a, b], found forwards, backwards, and by asking at every one of them. */
function engineBetween(recurrence: Recurrence, a: number, b: number): number[] {
  const forwards = [...recurrence.between(a, b)];
  const backwards: number[] = [];
  for (let slot = recurrence.previous(b + 0.5); slot > a; slot = recurrence.previous(slot))
    backwards.push(slot);
  expect(backwards.reverse()).toEqual(forwards);
  for (const slot of forwards.slice(0, 20)) expect(recurrence.isSlot(slot)).toBe(true);
  return forwards;
}

/** Days (in epoch seconds) within which a zone's offset changes: one probe a day, by another format than the engine's. */
function changeDays(timeZone: string, fromYear: number, toYear: number): number[] {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  const days: number[] = [];
  const end = Date.UTC(toYear, 0, 1) / 1000;
  let day = Date.UTC(fromYear, 0, 1) / 1000;
  let clock = format.format(day * 1000);
  for (day += DAY; day < end; day += DAY) {
    const now = format.format(day * 1000);
    if (now !== clock) days.push(day - DAY);
    clock = now;
  }
  return days;
}

const EXPRESSIONS: readonly (readonly [CronDialect, string])[] = [
  ['STANDARD', '* * * * *'],
  ['STANDARD', '*/15 * * * *'],
  ['STANDARD', '30 * * * *'],
  ['STANDARD', '0 0 * * *'],
  ['STANDARD', '30 0,2 * * *'],
  ['STANDARD', '15,45 1-3 * * *'],
  ['STANDARD', '*/20 2 * * *'],
  ['STANDARD', '*/30 0 * * *'],
  ['STANDARD', '30 23 * * *'],
  ['STANDARD', '0 */2 * * SUN'],
  ['STANDARD', '30 2 L * SUN'],
  ['STANDARD', 'H(20-40) H(0-3) * * *'],
  ['SECONDS', '30 59 1-3 * * *'],
  ['SECONDS', '0/20 */30 0-4 * * *'],
  ['SECONDS', '59 59 23,0,1,2,3 * * *'],
  ['AWS', '0/10 2 ? * SUNL *'],
  ['AWS', '30 1,2 * * ? *'],
];

describe('around the changes of the clocks', () => {
  const zones = sweepAll
    ? ZONES
    : [
        'Australia/Lord_Howe',
        'Pacific/Apia',
        'Africa/Casablanca',
        'Antarctica/Troll',
        'America/Sao_Paulo',
        ...Array.from({ length: 15 }, () => pick(ZONES)),
      ];
  const perZone = sweepAll ? Number.POSITIVE_INFINITY : 6;
  const perChange = sweepAll ? 6 : 8;

  it.each([...new Set(zones)])('agrees with the walk in %s', { timeout: 600_000 }, (timeZone) => {
    const days = changeDays(timeZone, 1970, 2101);
    const chosen = days.length <= perZone ? days : Array.from({ length: perZone }, () => pick(days));
    for (const day of chosen) {
      for (let i = 0; i < perChange; i++) {
        const [dialect, expression] = pick(EXPRESSIONS);
        const spec = {
          dialect,
          expression,
          timeZone,
          dstGap: pick(GAPS),
          dstOverlap: pick(OVERLAPS),
          identity: 'p/d/s',
        };
        const [after, until] = [day - 1.5 * DAY, day + 2.5 * DAY];
        const got = engineBetween(compile(spec), after, until);
        expect(got, `${JSON.stringify(spec)} around ${new Date(day * 1000).toISOString()}`).toEqual(
          oracleBetween(spec, after, until),
        );
      }
    }
  });
});

describe('at the seams of the tables', () => {
  // Of all changes, this one alone acts across the edge of a page: 58 minutes behind it, and an hour long.
  const change = Date.UTC(1973, 2, 11, 3) / 1000;
  const policies = OVERLAPS.flatMap((dstOverlap) =>
    ['* * * * *', '30 */1 * * *', '30 23 * * *'].map((e) => [dstOverlap, e] as const),
  );

  it.each(policies)('agrees with the walk under %s for %s', (dstOverlap, expression) => {
    expect(change % 2 ** 25).toBe(3504);
    const spec = {
      dialect: 'STANDARD',
      expression,
      timeZone: 'America/Santiago',
      dstGap: 'AUTO',
      dstOverlap,
    } as const;
    const [after, until] = [change - DAY, change + DAY];
    expect(engineBetween(compile(spec), after, until)).toEqual(oracleBetween(spec, after, until));
  });
});

const MONTH_NAMES = 'JAN feb Mar APRIL may June JUL AUG september OCT Nov DECEMBER'.split(' ');
const DAY_NAMES = 'SUN monday Tue WED thursday FRI SAT'.split(' ');

/** One item of a field: a value, a range (also a wrapped one), a step, or a star. */
function itemOf(min: number, max: number, name?: (value: number) => string): fc.Arbitrary<string> {
  const size = max - min + 1;
  const value = fc
    .tuple(fc.integer({ min, max }), fc.boolean())
    .map(([number, named]) => (named && name ? name(number) : String(number)));
  const step = fc.integer({ min: 1, max: size - 1 }).map((n) => `/${n}`);
  const maybeStep = fc.option(step, { nil: '' });
  const range = fc.tuple(value, value).map(([a, b]) => `${a}-${b}`);
  return fc.oneof(
    { weight: 4, arbitrary: value },
    { weight: 3, arbitrary: fc.tuple(range, maybeStep).map((parts) => parts.join('')) },
    { weight: 2, arbitrary: fc.tuple(value, step).map((parts) => parts.join('')) },
    { weight: 1, arbitrary: step.map((n) => `*${n}`) },
    { weight: 1, arbitrary: maybeStep.map((n) => `H${n}`) },
    { weight: 1, arbitrary: fc.tuple(range, maybeStep).map(([r, n]) => `H(${r})${n}`) },
  );
}

function fieldOf(item: fc.Arbitrary<string>, star = 3): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: star, arbitrary: fc.constant('*') },
    { weight: 7, arbitrary: fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(',')) },
  );
}

const sixty = fieldOf(itemOf(0, 59), 1);
const hours = fieldOf(itemOf(0, 23));
const months = fieldOf(
  itemOf(1, 12, (month) => MONTH_NAMES[month - 1]!),
  12,
);
const dates = fieldOf(
  fc.oneof(
    { weight: 3, arbitrary: itemOf(1, 31) },
    { weight: 1, arbitrary: fc.constantFrom('L', 'LW', 'l-2', 'L-30', 'L-1W', 'L-0') },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 31 }).map((day) => `${day}W`) },
  ),
);
function weekdaysOf(min: number, max: number, name: (day: number) => string): fc.Arbitrary<string> {
  const day = fc.integer({ min, max });
  const named = fc.tuple(day, fc.boolean()).map(([d, byName]) => (byName ? name(d) : String(d)));
  return fieldOf(
    fc.oneof(
      { weight: 3, arbitrary: itemOf(min, max === 7 && min === 0 ? 6 : max, name) },
      { weight: 1, arbitrary: named.map((d) => `${d}L`) },
      { weight: 1, arbitrary: fc.tuple(named, fc.integer({ min: 1, max: 5 })).map(([d, n]) => `${d}#${n}`) },
    ),
  );
}
const weekdays = weekdaysOf(0, 7, (day) => DAY_NAMES[day % 7]!);
const awsWeekdays = weekdaysOf(1, 7, (day) => DAY_NAMES[day - 1]!);
const years = fc.oneof(
  { weight: 4, arbitrary: fc.constant('*') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('2026', '2020-2030/3', '2025/2', '*/2', '1999,2027,2028', '2026-2099'),
  },
);
const awsDays = fc.oneof(
  fc.tuple(dates, months, fc.constant('?')),
  fc.tuple(fc.constant('?'), months, awsWeekdays),
);

const expressions: fc.Arbitrary<readonly [CronDialect, string]> = fc.oneof(
  fc.tuple(sixty, hours, dates, months, weekdays).map((f) => ['STANDARD', f.join(' ')] as const),
  fc.tuple(sixty, sixty, hours, dates, months, weekdays).map((f) => ['SECONDS', f.join(' ')] as const),
  fc.tuple(sixty, hours, awsDays, years).map(([m, h, d, y]) => ['AWS', [m, h, ...d, y].join(' ')] as const),
);

const specs: fc.Arbitrary<OracleSpec> = fc
  .record({
    expression: expressions,
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', pick(ZONES)),
    dstGap: fc.constantFrom(...GAPS),
    dstOverlap: fc.constantFrom(...OVERLAPS),
    identity: fc.constantFrom('', 'a/b/c', 'läuft/öfter/als ß'),
  })
  .map(({ expression: [dialect, expression], ...rest }) => ({ dialect, expression, ...rest }));

describe('any expression', () => {
  const numRuns = sweepAll ? 20_000 : 600;

  it('has the slots of the walk, and no others', { timeout: 600_000 }, () => {
    let refused = 0;
    fc.assert(
      fc.property(specs, fc.integer({ min: 15_000, max: 25_000 }), (spec, day) => {
        // A week in winter and the days of a change of the clocks say more than a year at noon.
        const after = day * DAY + 7;
        const until = after + 6 * DAY;
        let recurrence: Recurrence;
        try {
          recurrence = compile(spec);
        } catch (error) {
          if (!(error instanceof SpecError) || error.kind !== 'NEVER_FIRES') throw error;
          refused++;
          expect(oracleBetween(spec, after, until)).toEqual([]);
          return;
        }
        expect(engineBetween(recurrence, after, until)).toEqual(oracleBetween(spec, after, until));
      }),
      { seed, numRuns },
    );
    expect(refused).toBeLessThan(numRuns / 2);
  });

  it('falls on the days of the walk, over years', { timeout: 600_000 }, () => {
    const days = fc.oneof(
      fc.tuple(dates, months, weekdays).map((f) => ['STANDARD', `0 12 ${f.join(' ')}`] as const),
      fc.tuple(awsDays, years).map(([d, y]) => ['AWS', `0 12 ${d.join(' ')} ${y}`] as const),
    );
    fc.assert(
      fc.property(days, fc.integer({ min: 1970, max: 2195 }), ([dialect, expression], year) => {
        const spec = { dialect, expression, timeZone: 'UTC', dstGap: 'AUTO', dstOverlap: 'AUTO' } as const;
        const [after, until] = [Date.UTC(year, 0, 1) / 1000, Date.UTC(year + 3, 0, 1) / 1000];
        const expected = oracleBetween(spec, after, until);
        let slots: number[] = [];
        try {
          slots = engineBetween(compile(spec), after, until);
        } catch (error) {
          if (!(error instanceof SpecError) || error.kind !== 'NEVER_FIRES') throw error;
        }
        expect(slots).toEqual(expected);
      }),
      { seed, numRuns: sweepAll ? 5000 : 300 },
    );
  });

  it('has one set of slots, whichever way it is asked', () => {
    fc.assert(
      fc.property(
        specs,
        fc.double({ min: 0, max: 4_102_444_800, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (spec, t, part) => {
          let recurrence: Recurrence;
          try {
            recurrence = compile(spec);
          } catch (error) {
            if (error instanceof SpecError && error.kind === 'NEVER_FIRES') return;
            throw error;
          }
          const next = recurrence.next(t);
          expect(next).toBeGreaterThan(t);
          if (!Number.isFinite(next)) return;
          // No matter from where below it the search begins, and what else was asked in between.
          const between = Math.max(t, next - 0.001 - part * 3 * DAY);
          recurrence.next(t + part * 1e9);
          expect(recurrence.next(between)).toBe(next);
          expect(recurrence.previous(next + 0.001 + part * 0.9)).toBe(next);
          expect(recurrence.previous(next)).toBeLessThanOrEqual(t);
          expect(recurrence.isSlot(next)).toBe(true);
          expect(recurrence.isSlot(next + 0.5)).toBe(false);
          const after = recurrence.next(next);
          if (Number.isFinite(after)) expect(recurrence.previous(after)).toBe(next);
        },
      ),
      { seed, numRuns: sweepAll ? 50_000 : 1500 },
    );
  });
});
