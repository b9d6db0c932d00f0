import { describe, expect, it } from 'vitest';
import { compileRecurrence, type Recurrence } from './recurrence.ts';
import { SpecError, type SpecErrorKind } from './recurrence-error.ts';
import type { CronSpec, RecurrencePattern, RecurrenceSpec } from './recurrence-spec.ts';
import { FIRST_INSTANT, LAST_INSTANT } from './zone/civil-date.ts';

const NEVER = Number.POSITIVE_INFINITY;

function compile(pattern: RecurrencePattern, rest: Omit<RecurrenceSpec, 'pattern'> = {}): Recurrence {
  return compileRecurrence({ pattern, ...rest }, 'acme/prod/report');
}

function cron(expression: string, rest: Omit<CronSpec, 'kind' | 'expression'> = {}): Recurrence {
  return compile({ kind: 'cron', expression, ...rest });
}

function at(text: string): number {
  return Date.parse(text) / 1000;
}

/** What a spec is refused with; undefined when it is accepted. */
function refusal(spec: RecurrenceSpec): { kind: SpecErrorKind; field: string } | undefined {
  try {
    compileRecurrence(spec, 'x');
  } catch (error) {
    if (error instanceof SpecError) return { kind: error.kind, field: error.field };
    throw error;
  }
  return undefined;
}

describe('a rate', () => {
  const rate = compile({ kind: 'rate', everySeconds: 90, anchor: 1000 });

  it('has anchor + k * every, also before its anchor', () => {
    expect([...rate.between(900, NEVER, 3)]).toEqual([910, 1000, 1090]);
    expect(rate.next(1000)).toBe(1090);
    expect(rate.next(999.5)).toBe(1000);
    expect(rate.next(1000.5)).toBe(1090);
    expect(rate.previous(1000)).toBe(910);
    expect(rate.previous(1000.5)).toBe(1000);
    expect(rate.previous(1090)).toBe(1000);
    expect(rate.isSlot(1000)).toBe(true);
    expect(rate.isSlot(910)).toBe(true);
    expect(rate.isSlot(1090.5)).toBe(false);
    const first = rate.next(Number.NEGATIVE_INFINITY);
    expect(first - FIRST_INSTANT).toBeLessThan(90);
    expect(rate.previous(first)).toBe(Number.NEGATIVE_INFINITY);
  });

  it('begins where a bound says so', () => {
    const bounded = compile({ kind: 'rate', everySeconds: 90, anchor: 1000 }, { bounds: { start: 1000 } });
    expect([...bounded.between(Number.NEGATIVE_INFINITY, NEVER, 2)]).toEqual([1000, 1090]);
    expect(bounded.previous(1000)).toBe(Number.NEGATIVE_INFINITY);
  });

  it('keeps its phase for ever', () => {
    const far = rate.next(LAST_INSTANT - 200);
    expect((far - 1000) % 90).toBe(0);
    expect(rate.next(LAST_INSTANT)).toBe(NEVER);
    expect(rate.previous(NEVER)).toBeGreaterThan(LAST_INSTANT - 90);
    const old = compile({ kind: 'rate', everySeconds: 7, anchor: FIRST_INSTANT });
    expect(old.next(0)).toBe(FIRST_INSTANT + Math.ceil((1 - FIRST_INSTANT) / 7) * 7);
  });

  it('is what @every is, with the anchor of the spec', () => {
    const every = cron('@every 1m30s', { anchor: 1000, dialect: 'SECONDS', timeZone: 'Europe/Berlin' });
    expect([...every.between(999, NEVER, 3)]).toEqual([1000, 1090, 1180]);
    expect(cron(' \t@EVERY 1d2h3m4s ').next(0)).toBe(93_784);
  });

  it.each([
    [{ kind: 'rate', everySeconds: 0, anchor: 0 }, 'every'],
    [{ kind: 'rate', everySeconds: -1, anchor: 0 }, 'every'],
    [{ kind: 'rate', everySeconds: 0.5, anchor: 0 }, 'every'],
    [{ kind: 'rate', everySeconds: Number.NaN, anchor: 0 }, 'every'],
    [{ kind: 'rate', everySeconds: 60, anchor: 0.5 }, 'anchor'],
    [{ kind: 'rate', everySeconds: 60, anchor: NEVER }, 'anchor'],
    [{ kind: 'rate', everySeconds: 60, anchor: LAST_INSTANT + 1 }, 'anchor'],
    [{ kind: 'at', at: 0.5 }, 'at'],
    [{ kind: 'at', at: Number.NaN }, 'at'],
    [{ kind: 'cron', expression: '@every 5m', anchor: 0.5 }, 'anchor'],
  ] as const)('%j is refused', (pattern, field) => {
    expect(refusal({ pattern })).toEqual({ kind: 'MALFORMED', field });
  });
});

describe('a one-shot', () => {
  it('has one slot', () => {
    const once = compile({ kind: 'at', at: 500 });
    expect([...once.between(Number.NEGATIVE_INFINITY, NEVER)]).toEqual([500]);
    expect(once.next(499.9)).toBe(500);
    expect(once.next(500)).toBe(NEVER);
    expect(once.previous(500)).toBe(Number.NEGATIVE_INFINITY);
    expect(once.previous(500.1)).toBe(500);
  });
});

describe('bounds', () => {
  const pattern = { kind: 'cron', expression: '0 * * * *' } as const;

  it('are inclusive, both', () => {
    const bounded = compile(pattern, { bounds: { start: 3600, end: 10_800 } });
    expect([...bounded.between(Number.NEGATIVE_INFINITY, NEVER)]).toEqual([3600, 7200, 10_800]);
    expect(bounded.previous(NEVER)).toBe(10_800);
    expect(bounded.previous(3600)).toBe(Number.NEGATIVE_INFINITY);
    expect(bounded.next(10_800)).toBe(NEVER);
    expect(bounded.isSlot(0)).toBe(false);
  });

  it('may leave no slot at all', () => {
    expect(compile(pattern, { bounds: { start: 3601, end: 7199 } }).next(0)).toBe(NEVER);
    expect(compile(pattern, { bounds: { start: 3601, end: 7199 } }).previous(NEVER)).toBe(-NEVER);
  });

  it.each([
    [{ start: 0.5 }, 'start'],
    [{ end: NEVER }, 'end'],
    [{ start: Number.NaN }, 'start'],
    [{ start: 10, end: 9 }, 'end'],
  ])('%j are refused', (bounds, field) => {
    expect(refusal({ pattern, bounds })).toEqual({ kind: 'MALFORMED', field });
  });
});

describe('instants', () => {
  it.each([
    ['cron in UTC', cron('* * * * *')],
    ['cron in a zone', cron('* * * * *', { timeZone: 'Asia/Tokyo' })],
    ['a rate', compile({ kind: 'rate', everySeconds: 1, anchor: 0 })],
    ['a calendar interval', compile({ kind: 'calendar', unit: 'DAY', every: 1, startDate: '2026-01-01' })],
  ])('that are NaN are no question to %s', (_, recurrence) => {
    expect(() => recurrence.next(Number.NaN)).toThrow(RangeError);
    expect(() => recurrence.previous(Number.NaN)).toThrow(RangeError);
    expect(recurrence.isSlot(Number.NaN)).toBe(false);
  });

  it.each(['UTC', 'Asia/Tokyo', 'America/New_York', 'Pacific/Apia'])(
    'have two ends of time in %s',
    (timeZone) => {
      const minutely = cron('* * * * *', { timeZone });
      const first = minutely.next(Number.NEGATIVE_INFINITY);
      const last = minutely.previous(NEVER);
      expect(first).toBeGreaterThanOrEqual(FIRST_INSTANT);
      expect(first).toBeLessThan(FIRST_INSTANT + 2 * 86_400);
      expect(last).toBeLessThanOrEqual(LAST_INSTANT);
      expect(last).toBeGreaterThan(LAST_INSTANT - 2 * 86_400);
      expect(minutely.previous(first)).toBe(Number.NEGATIVE_INFINITY);
      expect(minutely.next(last)).toBe(NEVER);
      expect(minutely.next(NEVER)).toBe(NEVER);
      expect(minutely.previous(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
    },
  );

  it('between takes a limit, and is lazy', () => {
    const secondly = cron('* * * * * *', { dialect: 'SECONDS' });
    expect([...secondly.between(0, NEVER, 0)]).toEqual([]);
    expect([...secondly.between(0, 2.9)]).toEqual([1, 2]);
    expect([...secondly.between(5, 5)]).toEqual([]);
    expect([...secondly.between(5, 4)]).toEqual([]);
    const seen: number[] = [];
    for (const slot of secondly.between(0, NEVER)) {
      seen.push(slot);
      if (seen.length === 3) break;
    }
    expect(seen).toEqual([1, 2, 3]);
  });
});

describe('equal specs', () => {
  it('share one recurrence', () => {
    const spec = { kind: 'cron', expression: '17 4 * * *', timeZone: 'Europe/Berlin' } as const;
    expect(compileRecurrence({ pattern: { ...spec } }, 'a')).toBe(
      compileRecurrence({ pattern: { ...spec } }, 'b'),
    );
    const bounds = { start: 5 };
    expect(compile(spec, { bounds })).toBe(compile(spec, { bounds: { ...bounds } }));
  });

  it('do not share what differs', () => {
    const base = cron('17 4 * * *');
    expect(cron('17 4 * * *', { timeZone: 'Europe/Berlin' })).not.toBe(base);
    expect(cron('17 4 * * *', { dstGap: 'SKIP' })).not.toBe(base);
    expect(cron('17 4 * * *', { dstOverlap: 'BOTH' })).not.toBe(base);
    expect(compile({ kind: 'cron', expression: '17 4 * * *' }, { bounds: { end: 5 } })).not.toBe(base);
    expect(cron('@every 5m', { anchor: 1 }).next(0)).not.toBe(cron('@every 5m', { anchor: 2 }).next(0));
  });

  it('H depends on the identity, and on nothing else', () => {
    const hashed = (identity: string, expression = 'H H * * *'): number =>
      compileRecurrence({ pattern: { kind: 'cron', expression } }, identity).next(0);
    const times = Array.from({ length: 200 }, (_, n) => hashed(`acme/prod/report-${n}`));
    expect(new Set(times).size).toBeGreaterThan(150);
    expect(hashed('acme/prod/report-7')).toBe(times[7]);
    const minutes = times.map((time) => (time / 60) % 60);
    expect(Math.min(...minutes)).toBeLessThan(5);
    expect(Math.max(...minutes)).toBeGreaterThan(54);
  });

  it('H holds to its range', () => {
    for (let n = 0; n < 100; n++) {
      const spec = { kind: 'cron', expression: 'H(50-10) H(22-2) H * *' } as const;
      const slot = new Date(compileRecurrence({ pattern: spec }, `p/d/${n}`).next(0) * 1000);
      expect(slot.getUTCMinutes() >= 50 || slot.getUTCMinutes() <= 10).toBe(true);
      expect(slot.getUTCHours() >= 22 || slot.getUTCHours() <= 2).toBe(true);
      expect(slot.getUTCDate()).toBeLessThanOrEqual(28);
    }
  });
});

describe('expressions that match rarely, or never', () => {
  it.each(['0 0 30 2 *', '0 0 31 4,6,9,11 *', '0 0 L-30 2 *', '0 0 */30 2 MON#2'])(
    '%s is refused in time',
    (text) => {
      let fastest = NEVER;
      for (let n = 0; n < 5; n++) {
        const begin = performance.now();
        expect(
          refusal({ pattern: { kind: 'cron', expression: text, timeZone: 'Europe/Berlin' } })?.kind,
        ).toBe('NEVER_FIRES');
        fastest = Math.min(fastest, performance.now() - begin);
      }
      expect(fastest).toBeLessThan(5);
    },
  );

  it.each(['UTC', 'Europe/Berlin'])('29 February on a Monday costs no more than 50 µs in %s', (timeZone) => {
    const sparse = cron('0 0 ? 2 MON#5', { timeZone });
    const walk = (): number => {
      let [t, count] = [0, 0];
      const begin = performance.now();
      for (; t < 4e9; count++) t = sparse.next(t);
      for (; t > 0; count++) t = sparse.previous(t);
      return ((performance.now() - begin) * 1000) / count;
    };
    // Tables of far years are built on the first walk; the fastest of some is the engine's own cost.
    expect(Math.min(...Array.from({ length: 20 }, walk))).toBeLessThan(50);
    expect(new Date(sparse.next(at('2026-01-01T00:00:00Z')) * 1000).getUTCFullYear()).toBe(2044);
  });

  it('one that only ever falls into gaps, and skips them, comes to an end', () => {
    // The last Sunday of March at 02:30 has been in Berlin's gap every year since 1981.
    const lost = cron('30 2 ? 3 SUNL', { timeZone: 'Europe/Berlin', dstGap: 'SKIP' });
    expect(lost.next(at('2026-01-01T00:00:00Z'))).toBe(NEVER);
    expect(new Date(lost.previous(at('2026-01-01T00:00:00Z')) * 1000).toISOString()).toBe(
      '1980-03-30T01:30:00.000Z',
    );
  });

  it('one of a far year is found', () => {
    const far = cron('0 0 29 2 ? 2196', { dialect: 'AWS', timeZone: 'America/New_York' });
    expect(far.next(0)).toBe(at('2196-02-29T05:00:00Z'));
    expect(far.next(at('2196-02-29T05:00:00Z'))).toBe(NEVER);
    expect(far.previous(NEVER)).toBe(at('2196-02-29T05:00:00Z'));
  });
});

describe('a refusal', () => {
  it('says where, what and what instead', () => {
    expect(() => cron('0 9-25 * * *')).toThrow(
      new SpecError({
        kind: 'MALFORMED',
        field: 'hour',
        column: 5,
        problem: '25 is out of range',
        advice: 'give 0-23, *, a list, a range (a-b), a step (*/n, a-b/n) or H',
      }),
    );
    expect(() => cron('*/60 * * * *')).toThrow(/^minute, column 3: a step of 60 .*; .*rate/);
    expect(() => cron('0 0 * * */7')).toThrow(/MON#1/);
    expect(() => cron('TZ=UTC * * * * *')).toThrow(/time zone field/);
    expect(() => cron('0 0 0 * * *')).toThrow(/SECONDS for leading seconds, AWS for a trailing year/);
    expect(() => cron('0 0 * * L')).toThrow(/SATL or SUNL/);
  });

  it('is short, however long the expression', () => {
    const long = `${'9'.repeat(2000)} * * * *`;
    expect(() => cron(long)).toThrow(SpecError);
    try {
      cron(long);
    } catch (error) {
      expect(String(error).length).toBeLessThan(300);
    }
    expect(() => cron(`${' '.repeat(2048)}* * * * *`)).toThrow(/at most 2048 characters/);
  });
});
