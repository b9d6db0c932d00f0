/**
 * FOR TESTS: the rules of docs/recurrence.md as a brute-force walk, written from that page alone. It shares no code
 * with the engine, not even the calendar: it visits every day, tries every time of it, and asks `Intl` what local
 * time an instant has. Slow, short and plain is its purpose.
 */

/** What the walk needs to know of a schedule. */
export interface OracleSpec {
  readonly expression: string;
  readonly dialect: 'STANDARD' | 'SECONDS' | 'AWS';
  readonly timeZone: string;
  readonly dstGap: 'AUTO' | 'NEXT_VALID' | 'SHIFT' | 'SKIP';
  readonly dstOverlap: 'AUTO' | 'FIRST' | 'LAST' | 'BOTH';
  readonly identity?: string;
}

const DAY = 86_400;
const MONTH_NAMES =
  'JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER'.split(' ');
const DAY_NAMES = 'SUNDAY MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY'.split(' ');
const NICKNAMES: Record<string, string> = {
  '@YEARLY': '0 0 1 1 *',
  '@ANNUALLY': '0 0 1 1 *',
  '@MONTHLY': '0 0 1 * *',
  '@WEEKLY': '0 0 * * 0',
  '@DAILY': '0 0 * * *',
  '@MIDNIGHT': '0 0 * * *',
  '@HOURLY': '0 * * * *',
};

/** A calendar date as the walk sees it. */
interface Today {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly lastDay: number;
}

type DayTest = (today: Today) => boolean;

interface Field {
  readonly star: boolean;
  readonly interval: boolean;
  readonly values: Set<number>;
  readonly tests: DayTest[];
}

interface Expression {
  readonly seconds: number[];
  readonly minutes: number[];
  readonly hours: number[];
  readonly interval: boolean;
  readonly matches: DayTest;
}

type Kind =
  | 'second'
  | 'minute'
  | 'hour'
  | 'day-of-month'
  | 'month'
  | 'day-of-week'
  | 'aws-day-of-week'
  | 'year';

const LIMITS: Record<Kind, readonly [number, number]> = {
  second: [0, 59],
  minute: [0, 59],
  hour: [0, 23],
  'day-of-month': [1, 31],
  month: [1, 12],
  'day-of-week': [0, 6],
  'aws-day-of-week': [1, 7],
  year: [1970, 2199],
};

/** The hash of `H`, by big integers. */
function hash(text: string): number {
  let h = 0x811c9dc5n;
  for (const byte of new TextEncoder().encode(text)) h = ((h ^ BigInt(byte)) * 0x01000193n) & 0xffffffffn;
  h = ((h ^ (h >> 16n)) * 0x85ebca6bn) & 0xffffffffn;
  h = ((h ^ (h >> 13n)) * 0xc2b2ae35n) & 0xffffffffn;
  return Number(h ^ (h >> 16n));
}

function nearestWeekday(today: Today, target: number): boolean {
  // Walk outwards from the target: the first weekday met inside the month is the one.
  const weekdayOf = (day: number): number => (((today.weekday + day - today.day) % 7) + 7) % 7;
  if (target < 1 || target > today.lastDay) return false;
  for (const step of [0, -1, 1, -2, 2]) {
    const day = target + step;
    if (day < 1 || day > today.lastDay) continue;
    if (weekdayOf(day) >= 1 && weekdayOf(day) <= 5) return today.day === day;
  }
  return false;
}

function readField(text: string, kind: Kind, identity: string): Field {
  const [min, max] = LIMITS[kind];
  const isWeekday = kind === 'day-of-week' || kind === 'aws-day-of-week';
  const number = (word: string): number => {
    if (/^\d+$/.test(word)) return Number(word);
    const names = kind === 'month' ? MONTH_NAMES : DAY_NAMES;
    const index = names.findIndex((name) => name === word || name.slice(0, 3) === word);
    if (index < 0) throw new Error(`the walk cannot read ${word}`);
    return index + (kind === 'day-of-week' ? 0 : 1);
  };
  const sundayFirst = (word: string): number => (number(word) - (kind === 'aws-day-of-week' ? 1 : 0)) % 7;
  const values = new Set<number>();
  const tests: DayTest[] = [];
  let interval = false;
  const count = (first: number, last: number, step: number): void => {
    const size = kind === 'day-of-week' ? 7 : max - min + 1;
    const end = last < first ? last + size : last;
    for (let v = first; v <= end; v += step) {
      let value = v;
      while (value > max) value -= size;
      values.add(value);
    }
  };
  const forms: readonly (readonly [RegExp, boolean, (...groups: string[]) => void])[] = [
    [/^\?$/, true, () => count(min, max, 1)],
    [/^L$/, kind === 'aws-day-of-week', () => values.add(7)],
    [
      /^L(?:-(\d+))?$/,
      kind === 'day-of-month',
      (n = '0') => tests.push((t) => t.day === t.lastDay - Number(n)),
    ],
    [
      /^L(?:-(\d+))?W$/,
      kind === 'day-of-month',
      (n = '0') => tests.push((t) => nearestWeekday(t, t.lastDay - Number(n))),
    ],
    [/^(\d+)W$/, kind === 'day-of-month', (n) => tests.push((t) => nearestWeekday(t, Number(n)))],
    [
      /^(\w+)#(\d)$/,
      isWeekday,
      (d, n) => tests.push((t) => t.weekday === sundayFirst(d!) && Math.ceil(t.day / 7) === Number(n)),
    ],
    [
      /^(\d|[A-Z]+)L$/,
      isWeekday,
      (d) => tests.push((t) => t.weekday === sundayFirst(d!) && t.day + 7 > t.lastDay),
    ],
    [/^H(?:\((\w+)-(\w+)\))?(?:\/(\d+))?$/, true, (a, b, n) => hashed(a, b, n)],
    [/^\*(?:\/(\d+))?$/, true, (n = '1') => repeated(min, max, n)],
    [
      /^(\w+)-(\w+)(?:\/(\d+))?$/,
      true,
      (a, b, n = '1') => {
        const [first, last] = [number(a!), number(b!)];
        repeated(last < first && kind === 'day-of-week' ? first % 7 : first, last, n);
      },
    ],
    [/^(\w+)\/(\d+)$/, true, (a, n) => repeated(number(a!), Math.max(number(a!), max), n!)],
    [/^(\w+)$/, true, (a) => count(number(a!), number(a!), 1)],
  ];
  const repeated = (first: number, last: number, step: string): void => {
    interval = true;
    count(first, last, Number(step));
  };
  const hashed = (from: string | undefined, to: string | undefined, step: string | undefined): void => {
    const first = from === undefined ? min : number(from);
    let last = to === undefined ? (kind === 'day-of-month' ? 28 : max) : number(to);
    if (last < first) last += kind === 'day-of-week' ? 7 : max - min + 1;
    const h = hash(`${identity}\n${isWeekday ? 'day-of-week' : kind}`);
    const span = last - first + 1;
    if (step === undefined) count(first + (h % span), first + (h % span), 1);
    else repeated(first + (h % Math.min(Number(step), span)), last, step);
  };
  for (const item of text.toUpperCase().split(',')) {
    const form = forms.find(([pattern, applies]) => applies && pattern.test(item));
    if (!form) throw new Error(`the walk cannot read ${item}`);
    form[2](...form[0].exec(item)!.slice(1));
  }
  return { star: text.startsWith('*') || text === '?', interval, values, tests };
}

/** Reads an expression that is known to be valid. */
function read(spec: OracleSpec): Expression {
  let words = spec.expression.trim().split(/[ \t]+/);
  let kinds: Kind[] = ['second', 'minute', 'hour', 'day-of-month', 'month', 'day-of-week'];
  if (words[0]!.startsWith('@')) words = ['0', ...NICKNAMES[words[0]!.toUpperCase()]!.split(' ')];
  else if (spec.dialect === 'STANDARD') words = ['0', ...words];
  else if (spec.dialect === 'AWS') {
    words = ['0', ...words];
    kinds = ['second', 'minute', 'hour', 'day-of-month', 'month', 'aws-day-of-week', 'year'];
  }
  const fields = kinds.map((kind, i) => readField(words[i]!, kind, spec.identity ?? ''));
  const [second, minute, hour, date, month, weekday, year] = fields as [
    Field,
    Field,
    Field,
    Field,
    Field,
    Field,
    Field?,
  ];
  const ascending = (field: Field): number[] => [...field.values].sort((a, b) => a - b);
  const weekdayShift = spec.dialect === 'AWS' ? 1 : 0;
  return {
    seconds: ascending(second),
    minutes: ascending(minute),
    hours: ascending(hour),
    interval: second.interval || minute.interval || hour.interval,
    matches: (today) => {
      if (!month.values.has(today.month)) return false;
      if (year && !year.values.has(today.year)) return false;
      const onDate = date.values.has(today.day) || date.tests.some((test) => test(today));
      const onWeekday =
        weekday.values.has(today.weekday + weekdayShift) || weekday.tests.some((test) => test(today));
      return date.star || weekday.star ? onDate && onWeekday : onDate || onWeekday;
    },
  };
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** Local minus UTC at an instant, in seconds, from the digits of a clock on the wall. */
function offsetAt(timeZone: string, instant: number): number {
  let format = formats.get(timeZone);
  if (!format) {
    const two = '2-digit';
    const parts = { year: 'numeric', month: two, day: two, hour: two, minute: two, second: two } as const;
    format = new Intl.DateTimeFormat('en-US', { timeZone, hourCycle: 'h23', ...parts });
    formats.set(timeZone, format);
  }
  const [month, day, year, hour, minute, second] = format
    .format(instant * 1000)
    .split(/\D+/)
    .map(Number);
  const wall = new Date(0);
  wall.setUTCFullYear(year!, month! - 1, day!);
  wall.setUTCHours(hour!, minute!, second!);
  return wall.getTime() / 1000 - instant;
}

/** A stretch of one offset; the first and the last of a list reach beyond it. */
interface Stretch {
  from: number;
  to: number;
  readonly offset: number;
}

const stretchesByDay = new Map<string, Stretch[]>();

/** The stretches that touch the UTC days number - 3 to number + 3: hours first, then minutes, then seconds. */
function stretchesAround(timeZone: string, number: number): Stretch[] {
  if (timeZone === 'UTC')
    return [{ from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY, offset: 0 }];
  const key = `${timeZone} ${number}`;
  const known = stretchesByDay.get(key);
  if (known) return known;
  const [begin, end] = [(number - 3) * DAY, (number + 4) * DAY];
  const stretches: Stretch[] = [
    { from: Number.NEGATIVE_INFINITY, to: end, offset: offsetAt(timeZone, begin) },
  ];
  for (let hour = begin; hour < end; hour += 3600) {
    let offset = stretches.at(-1)!.offset;
    if (offsetAt(timeZone, hour + 3600) === offset) continue;
    for (let minute = hour; minute < hour + 3600; minute += 60) {
      if (offsetAt(timeZone, minute + 60) === offset) continue;
      for (let second = minute + 1; second <= minute + 60; second++) {
        const now = offsetAt(timeZone, second);
        if (now === offset) continue;
        stretches.at(-1)!.to = second;
        stretches.push({ from: second, to: end, offset: now });
        offset = now;
      }
    }
  }
  stretches.at(-1)!.to = Number.POSITIVE_INFINITY;
  if (stretchesByDay.size > 20_000) stretchesByDay.clear();
  stretchesByDay.set(key, stretches);
  return stretches;
}

/** The slots that the nominal times of one local date make, in no order. */
function slotsOfDate(spec: OracleSpec, expression: Expression, number: number): number[] {
  const date = new Date(number * DAY * 1000);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()];
  const lastDay = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  if (!expression.matches({ year, month, day, weekday: date.getUTCDay(), lastDay })) return [];
  const stretches = stretchesAround(spec.timeZone, number);
  const overlap = spec.dstOverlap !== 'AUTO' ? spec.dstOverlap : expression.interval ? 'BOTH' : 'FIRST';
  const gap = spec.dstGap !== 'AUTO' ? spec.dstGap : expression.interval ? 'DROP' : 'NEXT_VALID';
  const slots: number[] = [];
  let afterGap: number | undefined;
  for (const hour of expression.hours) {
    for (const minute of expression.minutes) {
      for (const second of expression.seconds) {
        const wall = number * DAY + hour * 3600 + minute * 60 + second;
        const instants = stretches
          .filter(({ from, to, offset }) => wall - offset >= from && wall - offset < to)
          .map(({ offset }) => wall - offset);
        if (instants.length > 0) {
          if (overlap === 'FIRST') slots.push(Math.min(...instants));
          else if (overlap === 'LAST') slots.push(Math.max(...instants));
          else slots.push(...instants);
          continue;
        }
        const after = stretches.findIndex(
          ({ from, offset }) => wall < from + offset && from > Number.NEGATIVE_INFINITY,
        );
        const [previous, next] = [stretches[after - 1]!, stretches[after]!];
        if (gap === 'NEXT_VALID') slots.push(next.from);
        else if (gap === 'SHIFT') slots.push(wall + (next.offset - previous.offset) - next.offset);
        else if (gap === 'DROP') afterGap = next.from;
      }
    }
  }
  if (afterGap !== undefined && slots.length === 0) slots.push(afterGap);
  return slots;
}

/** All slots in (after, until], ascending, each once. */
export function oracleBetween(spec: OracleSpec, after: number, until: number): number[] {
  const expression = read(spec);
  const found = new Set<number>();
  for (let number = Math.floor(after / DAY) - 2; number <= Math.floor(until / DAY) + 2; number++) {
    for (const slot of slotsOfDate(spec, expression, number))
      if (slot > after && slot <= until) found.add(slot);
  }
  return [...found].sort((a, b) => a - b);
}

/** The first `count` slots after an instant; fewer when `days` days of walking do not find them. */
export function oracleNext(spec: OracleSpec, after: number, count: number, days = 150_000): number[] {
  const expression = read(spec);
  const found = new Set<number>();
  const first = Math.floor(after / DAY) - 2;
  for (let number = first; number < first + days; number++) {
    for (const slot of slotsOfDate(spec, expression, number)) if (slot > after) found.add(slot);
    // No nominal date of a later turn of this loop makes a slot more than two days before it.
    if (found.size >= count) {
      const settled = [...found].filter((slot) => slot < (number - 2) * DAY);
      if (settled.length >= count) return settled.sort((a, b) => a - b).slice(0, count);
    }
  }
  return [...found].sort((a, b) => a - b).slice(0, count);
}
