/** FOR TESTS AND BENCHES: random strings for the parser of cron expressions, and what must hold of every one. */
import { compileRecurrence } from './recurrence.ts';
import { SpecError } from './recurrence-error.ts';
import type { CronDialect } from './recurrence-spec.ts';

const DIALECTS: readonly CronDialect[] = ['STANDARD', 'SECONDS', 'AWS'];
const PIECES = [
  ...'0123456789*/-,?#LWHlwh()@ \t',
  ...[
    'MON',
    'sunday',
    'JAN',
    'december',
    'FRIL',
    'TUE#2',
    'LW',
    'L-3',
    '15W',
    'H(1-5)',
    '*/5',
    '1-5',
    '22-2',
    '59',
  ],
  ...['@every ', '@daily', '1h30m', '2026', 'TZ=UTC ', 'CRON_TZ='],
];
const VALID = [
  '*/15 9-17 * * MON-FRI',
  '0 0 L-3,15W,LW * *',
  '30 2 1-7 JAN,MAR-MAY MON#1,FRIL',
  '0 */5 22-4/2 ? * 2',
  '0/10 10 ? * 2#1 2026-2030',
  'H H(0-6)/2 * * *',
  '@every 1h30m',
];
/** The longest string, in characters; most are much shorter. */
const MAX_LENGTH = 256;

/** A seeded generator of numbers in [0, 1): mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A random string: noise, pieces of the language, or a valid expression that was damaged in some places. */
export function fuzzExpression(random: () => number): string {
  const below = (n: number): number => Math.floor(random() * n);
  const kind = random();
  let text = '';
  if (kind < 0.1) {
    for (let n = below(40); n > 0; n--) text += String.fromCharCode(below(kind < 0.05 ? 0x80 : 0x10000));
  } else if (kind < 0.5) {
    for (let n = below(kind < 0.15 ? 200 : 30); n > 0; n--) text += PIECES[below(PIECES.length)]!;
  } else {
    text = VALID[below(VALID.length)]!;
    for (let n = below(4); n > 0; n--) {
      const at = below(text.length + 1);
      text = text.slice(0, at) + PIECES[below(PIECES.length)]! + text.slice(at + below(3));
    }
    if (random() < 0.02) text = `${text.split(' ')[0]},`.repeat(60) + text;
  }
  return text.slice(0, MAX_LENGTH);
}

/** Whether an expression was accepted. */
export type FuzzOutcome = 'ACCEPTED' | 'REFUSED';

/**
 * Gives a string to the engine in the n-th dialect: it is accepted, and then has a next slot that is one; or refused
 * with a {@link SpecError} that names a field and gives advice. Anything else is an Error that quotes the string.
 */
export function fuzzOnce(text: string, n: number): FuzzOutcome {
  const dialect = DIALECTS[n % DIALECTS.length]!;
  const describe = `${JSON.stringify(text)} as ${dialect}`;
  try {
    const recurrence = compileRecurrence(
      { pattern: { kind: 'cron', expression: text, dialect } },
      'fuzz/fuzz/fuzz',
    );
    const slot = recurrence.next(Number.NEGATIVE_INFINITY);
    if (!Number.isInteger(slot) || !recurrence.isSlot(slot))
      throw new Error(`${describe} begins with ${slot}`);
    if (recurrence.describe() === '') throw new Error(`${describe} has no description`);
    return 'ACCEPTED';
  } catch (error) {
    if (!(error instanceof SpecError)) throw new Error(`${describe} broke the engine`, { cause: error });
    const { field, column, advice } = error;
    const placed = column === undefined || (column >= 1 && column <= text.length + 1);
    if (field === '' || advice === '' || !placed)
      throw new Error(`${describe}: a poor refusal`, { cause: error });
    return 'REFUSED';
  }
}
