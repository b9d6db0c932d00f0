import { readFileSync } from 'node:fs';
import { CronExpressionParser } from 'cron-parser';
import { Cron } from 'croner';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileRecurrence } from './recurrence.ts';

/**
 * The engine against croner, cron-parser and node-cron, where their dialects agree with ours: everywhere without a
 * change of the clocks there must be no difference; near one, each difference must be a row of EXPLAINED, which
 * docs/recurrence.md repeats for readers. CARILLON_SWEEP=all: every zone, every change from 1970 to 2100.
 */
// Fixed by default: a new oddity of a peer is not a fault of ours, and must not fail somebody's build by chance.
const seed = Number(process.env.CARILLON_SEED ?? 20_261_121);
const sweepAll = process.env.CARILLON_SWEEP === 'all';
const ZONES = Intl.supportedValuesOf('timeZone');
const DAY = 86_400;
console.info(`recurrence-peers: CARILLON_SEED=${seed}${sweepAll ? ' CARILLON_SWEEP=all' : ''}`);

type Library = 'croner' | 'cron-parser' | 'node-cron';
/** Gives the next slot after t; called with its own last answer. */
type Next = (t: number) => number;

interface TimeMatcher {
  getNextMatch(date: Date): Date;
}

/** node-cron exports tasks only, which know no "next after t"; its matcher is in a file beside its entry. */
async function findTimeMatcher(): Promise<new (expression: string, zone: string) => TimeMatcher> {
  const exported: Record<string, unknown> = await import(
    new URL('_shared.js', import.meta.resolve('node-cron')).href
  );
  for (const value of Object.values(exported)) {
    if (typeof value === 'function' && typeof value.prototype?.getNextMatch === 'function') {
      return value as new (
        expression: string,
        zone: string,
      ) => TimeMatcher;
    }
  }
  throw new Error('this node-cron has no TimeMatcher');
}
const TimeMatcher = await findTimeMatcher();

const LIBRARIES: Readonly<Record<Library, (expression: string, zone: string, start: number) => Next>> = {
  croner: (expression, timezone) => {
    const cron = new Cron(expression, { timezone, paused: true });
    return (t) => cron.nextRun(new Date(t * 1000))!.getTime() / 1000;
  },
  'cron-parser': (expression, tz, start) => {
    const cursor = CronExpressionParser.parse(expression, { tz, currentDate: new Date(start * 1000) });
    return () => cursor.next().getTime() / 1000;
  },
  'node-cron': (expression, zone) => {
    const matcher = new TimeMatcher(`0 ${expression}`, zone);
    return (t) => matcher.getNextMatch(new Date(t * 1000)).getTime() / 1000;
  },
};

/** A library's slots in (after, until]; `failedAt` where it throws, or does not move on. */
function slotsOf(
  next: Next,
  after: number,
  until: number,
): { slots: number[]; failedAt: number | undefined } {
  const slots: number[] = [];
  for (let t = after; ; ) {
    let found: number;
    try {
      found = next(t);
    } catch {
      return { slots, failedAt: t };
    }
    if (!(found > t)) return { slots, failedAt: t };
    if (found > until) return { slots, failedAt: undefined };
    slots.push(found);
    t = found;
  }
}

function ours(expression: string, timeZone: string, after: number, until: number): number[] {
  return [
    ...compileRecurrence({ pattern: { kind: 'cron', expression, timeZone } }, 'x').between(after, until),
  ];
}

/** A slot that one has and the other has not, beside a change of the clocks. */
interface Difference {
  readonly library: Library;
  /** `gap` when the clocks are put forward. */
  readonly change: 'gap' | 'overlap';
  /** Seconds by which the offset changes, positive. */
  readonly shift: number;
  /** Whether the expression has fixed times rather than an interval. */
  readonly fixed: boolean;
  /** Whether the library has a slot more, or one fewer, or throws or does not move on from there. */
  readonly they: 'have' | 'lack' | 'fail';
  /** Seconds from the change to the slot. */
  readonly distance: number;
  /** The zone's offset there has seconds. */
  readonly oddOffset: boolean;
  /** Local time of the change by the old offset, in seconds since midnight. */
  readonly changeTime: number;
}

/** At the first instant after a gap. */
const atGap = (d: Difference): boolean => d.change === 'gap' && d.distance === 0;
/** As far behind a gap as the gap is long. */
const behindGap = (d: Difference): boolean => d.change === 'gap' && d.distance >= 0 && d.distance < d.shift;
const firstPass = (d: Difference): boolean =>
  d.change === 'overlap' && d.distance < 0 && d.distance >= -d.shift;
const secondPass = (d: Difference): boolean =>
  d.change === 'overlap' && d.distance >= 0 && d.distance < d.shift;

/** A change that is not of one hour, or not at a full hour of local time. */
const uncommon = (d: Difference): boolean => d.shift !== 3600 || d.changeTime % 3600 !== 0;
/** A change of one hour whose gap or overlap ends or begins at midnight. */
const atMidnight = (d: Difference): boolean => d.changeTime === (d.change === 'gap' ? DAY - 3600 : 3600);

interface Explanation {
  readonly id: string;
  readonly library: Library;
  readonly they: Difference['they'];
  readonly applies: (difference: Difference) => boolean;
  /** Where it is seen: a zone, an expression, and a change of that zone's clocks. */
  readonly witness: readonly [string, string, string];
}

const EXPLAINED: readonly Explanation[] = [
  {
    id: 'croner-1',
    library: 'croner',
    they: 'lack',
    applies: (d) => atGap(d),
    witness: ['Africa/Tunis', '*/30 0 * * *', '2005-04-30T23:00:00Z'],
  },
  {
    id: 'croner-2',
    library: 'croner',
    they: 'have',
    applies: (d) => d.fixed && secondPass(d),
    witness: ['Africa/Tunis', '30 0,2 * * *', '1977-09-23T23:00:00Z'],
  },
  {
    id: 'croner-3',
    library: 'croner',
    they: 'lack',
    applies: (d) => d.shift > 3 * 3600 && firstPass(d),
    witness: ['Antarctica/Vostok', '*/15 * * * *', '1994-01-31T17:00:00Z'],
  },
  {
    id: 'cron-parser-1',
    library: 'cron-parser',
    they: 'have',
    applies: (d) => d.fixed && behindGap(d),
    witness: ['America/Catamarca', '30 0,2 * * *', '1992-10-18T03:00:00Z'],
  },
  {
    id: 'cron-parser-2',
    library: 'cron-parser',
    they: 'lack',
    applies: (d) => d.fixed && atGap(d),
    witness: ['America/Catamarca', '30 0,2 * * *', '1992-10-18T03:00:00Z'],
  },
  {
    id: 'cron-parser-3',
    library: 'cron-parser',
    they: 'have',
    applies: (d) => !d.fixed && behindGap(d),
    witness: ['Africa/Tunis', '0 */2 * * *', '1989-03-25T23:00:00Z'],
  },
  {
    id: 'cron-parser-4',
    library: 'cron-parser',
    they: 'lack',
    applies: (d) => !d.fixed && secondPass(d),
    witness: ['Africa/Tunis', '*/20 2 * * *', '2007-10-28T01:00:00Z'],
  },
  {
    id: 'cron-parser-5',
    library: 'cron-parser',
    they: 'have',
    applies: uncommon,
    witness: ['America/St_Johns', '0 0 * * *', '1992-10-25T02:31:00Z'],
  },
  {
    id: 'cron-parser-6',
    library: 'cron-parser',
    they: 'lack',
    applies: uncommon,
    witness: ['Africa/Monrovia', '*/15 * * * *', '1972-01-07T00:44:30Z'],
  },
  {
    id: 'cron-parser-9',
    library: 'cron-parser',
    they: 'fail',
    applies: uncommon,
    witness: ['America/St_Johns', '30 * * * *', '1988-10-30T01:31:00Z'],
  },
  {
    id: 'cron-parser-7',
    library: 'cron-parser',
    they: 'have',
    applies: atMidnight,
    witness: ['Africa/Tunis', '30 0,2 * * *', '1977-09-23T23:00:00Z'],
  },
  {
    id: 'cron-parser-8',
    library: 'cron-parser',
    they: 'lack',
    applies: atMidnight,
    witness: ['Africa/Tunis', '30 0,2 * * *', '1977-09-23T23:00:00Z'],
  },
  {
    id: 'node-cron-1',
    library: 'node-cron',
    they: 'lack',
    applies: (d) => atGap(d),
    witness: ['Africa/Tunis', '0 0 * * *', '1978-04-30T23:00:00Z'],
  },
  {
    id: 'node-cron-2',
    library: 'node-cron',
    they: 'lack',
    applies: (d) => firstPass(d),
    witness: ['Africa/Tunis', '30 0,2 * * *', '1977-09-23T23:00:00Z'],
  },
  {
    id: 'node-cron-3',
    library: 'node-cron',
    they: 'have',
    applies: (d) => d.fixed && secondPass(d),
    witness: ['Africa/Tunis', '30 0,2 * * *', '1977-09-23T23:00:00Z'],
  },
  {
    id: 'node-cron-4',
    library: 'node-cron',
    they: 'lack',
    applies: (d) => !d.fixed && secondPass(d),
    witness: ['America/Jujuy', '*/15 * * * *', '1989-03-05T02:00:00Z'],
  },
  {
    id: 'node-cron-5',
    library: 'node-cron',
    they: 'lack',
    applies: (d) => d.oddOffset,
    witness: ['Africa/Monrovia', '*/15 * * * *', '1972-01-07T00:44:30Z'],
  },
  {
    id: 'node-cron-6',
    library: 'node-cron',
    they: 'lack',
    applies: (d) => behindGap(d) && d.shift > 3600,
    witness: ['America/Scoresbysund', '15,45 1-3 * * *', '1981-03-29T02:00:00Z'],
  },
];

function explain(difference: Difference): string | undefined {
  return EXPLAINED.find(
    ({ library, they, applies }) =>
      library === difference.library && they === difference.they && applies(difference),
  )?.id;
}

/** Seconds east of UTC by Intl's own digits. */
function offsetAt(timeZone: string, instant: number): number {
  const text = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' }).format(
    instant * 1000,
  );
  const match = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(text)!;
  const seconds = Number(match[2] ?? 0) * 3600 + Number(match[3] ?? 0) * 60 + Number(match[4] ?? 0);
  return match[1] === '-' ? -seconds : seconds;
}

interface Change {
  readonly at: number;
  readonly before: number;
  readonly after: number;
}

/** The changes of a zone's clocks, by days and then by halving. */
function changesOf(timeZone: string, fromYear: number, toYear: number): Change[] {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  const phase = (t: number): string => format.format(t * 1000);
  const changes: Change[] = [];
  for (let t = Date.UTC(fromYear, 0, 1) / 1000; t < Date.UTC(toYear, 0, 1) / 1000; t += DAY) {
    if (phase(t) === phase(t + DAY)) continue;
    let [low, high] = [t, t + DAY];
    const before = offsetAt(timeZone, low);
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (offsetAt(timeZone, middle) === before) low = middle;
      else high = middle;
    }
    changes.push({ at: high, before, after: offsetAt(timeZone, high) });
  }
  return changes;
}

/** Where the libraries differ from us in the days beside a change, and how to say so. */
function differencesBeside(
  change: Change,
  timeZone: string,
  expression: string,
): { difference: Difference; what: string }[] {
  const found: { difference: Difference; what: string }[] = [];
  const [after, until] = [change.at - 1.2 * DAY, change.at + 1.2 * DAY];
  const mine = new Set(ours(expression, timeZone, after, until));
  for (const library of Object.keys(LIBRARIES) as Library[]) {
    const { slots, failedAt } = slotsOf(LIBRARIES[library](expression, timeZone, after), after, until);
    const theirs = new Set(slots);
    const differ = (slot: number, they: Difference['they']): void => {
      const difference = {
        library,
        change: change.after > change.before ? 'gap' : 'overlap',
        shift: Math.abs(change.after - change.before),
        fixed: !/[*/-]/.test(expression.split(' ', 2).join()),
        they,
        distance: slot - change.at,
        oddOffset: offsetAt(timeZone, slot) % 60 !== 0,
        changeTime: (((change.at + change.before) % DAY) + DAY) % DAY,
      } as const;
      const when = new Date(slot * 1000).toISOString();
      found.push({ difference, what: `${library} ${they} ${when} for ${expression} in ${timeZone}` });
    };
    for (const slot of theirs) if (!mine.has(slot)) differ(slot, 'have');
    for (const slot of mine) {
      if (!theirs.has(slot) && !(failedAt !== undefined && slot > failedAt)) differ(slot, 'lack');
    }
    if (failedAt !== undefined) differ(failedAt, 'fail');
  }
  return found;
}

const EXPRESSIONS = [
  '*/15 * * * *',
  '30 * * * *',
  '30 2 * * *',
  '0 0 * * *',
  '30 1 * * *',
  '*/20 2 * * *',
  '*/30 0 * * *',
  '15,45 1-3 * * *',
  '0 */2 * * *',
  '30 23 * * *',
  '30 0,2 * * *',
];

let state = seed;
function pick<T>(list: readonly T[]): T {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
  return list[state % list.length]!;
}

describe('beside the changes of the clocks', () => {
  const zones = sweepAll
    ? ZONES
    : [
        'Australia/Lord_Howe',
        'Pacific/Apia',
        'Africa/Monrovia',
        ...Array.from({ length: 12 }, () => pick(ZONES)),
      ];

  it.each([...new Set(zones)])('leaves no difference unexplained in %s', { timeout: 600_000 }, (timeZone) => {
    const changes = changesOf(timeZone, 1970, 2101);
    const chosen = sweepAll || changes.length < 5 ? changes : Array.from({ length: 5 }, () => pick(changes));
    for (const change of chosen) {
      for (const { difference, what } of differencesBeside(change, timeZone, pick(EXPRESSIONS))) {
        expect(explain(difference), what).toBeDefined();
      }
    }
  });

  it.each(EXPLAINED.map(({ id, witness }) => [id, ...witness] as const))(
    'shows %s in %s for %s at %s',
    (id, timeZone, expression, text) => {
      const at = Date.parse(text) / 1000;
      const change = { at, before: offsetAt(timeZone, at - 1), after: offsetAt(timeZone, at) };
      expect(change.before).not.toBe(change.after);
      const found = differencesBeside(change, timeZone, expression).map(({ difference }) =>
        explain(difference),
      );
      expect(found).toContain(id);
    },
  );

  it('documents every explanation', () => {
    const page = readFileSync(new URL('../../../docs/recurrence.md', import.meta.url), 'utf8');
    for (const { id } of EXPLAINED) expect(page, id).toContain(`\`${id}\``);
  });
});

function field(min: number, max: number): fc.Arbitrary<string> {
  const value = fc.integer({ min, max });
  const range = fc.tuple(value, value).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
  const step = fc.integer({ min: 1, max: Math.min(max - min, 30) });
  return fc.oneof(
    fc.constant('*'),
    fc
      .uniqueArray(value, { minLength: 1, maxLength: 4 })
      .map((values) => values.sort((a, b) => a - b).join(',')),
    range,
    step.map((n) => `*/${n}`),
    fc.tuple(range, step).map(([r, n]) => `${r}/${n}`),
  );
}

const days: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  fc.tuple(field(1, 28), fc.constant('*')),
  fc.tuple(fc.constant('L'), fc.constant('*')),
  fc.tuple(fc.constant('*'), field(0, 6)),
  fc.tuple(
    fc.constant('*'),
    fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 1, max: 4 })).map((p) => p.join('#')),
  ),
);

describe('where no clock changes', () => {
  it.each(Object.keys(LIBRARIES) as Library[])('has the slots of %s', { timeout: 300_000 }, (library) => {
    const everything = fc.tuple(field(0, 59), field(0, 23), days, field(1, 12));
    fc.assert(
      fc.property(
        everything,
        fc.integer({ min: 1970, max: 2090 }),
        ([minute, hour, [date, weekday], month], year) => {
          const expression = [minute, hour, date, month, weekday].join(' ');
          const after = Date.UTC(year, 5, 15, 3, 7, 11) / 1000;
          const next = LIBRARIES[library](expression, 'UTC', after);
          let t = after;
          const theirs: number[] = [];
          while (theirs.length < 12) {
            t = next(t);
            theirs.push(t);
          }
          expect(ours(expression, 'UTC', after, t), expression).toEqual(theirs);
        },
      ),
      { seed, numRuns: sweepAll ? 5000 : 300 },
    );
  });
});
