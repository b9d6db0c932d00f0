import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { previewBatchLine } from './recurrence-batch.ts';
import { type OracleSpec, oracleNext } from './recurrence-oracle.ts';

/** A row of the vector files: a request as `carillon schedules preview --batch` takes it, and what must come of it. */
interface VectorRow extends Omit<OracleSpec, 'timeZone'> {
  readonly id: string;
  readonly timezone: string;
  readonly after: string | number;
  readonly count: number;
  readonly next?: readonly (string | number)[];
  readonly error?: { readonly kind: string; readonly field: string; readonly column?: number };
}

interface Answer {
  readonly id: string;
  readonly next?: readonly (string | number)[];
  readonly error?: { readonly kind: string; readonly field: string; readonly column?: number };
}

function read(name: string): { line: string; row: VectorRow }[] {
  const text = readFileSync(new URL(`../vectors/${name}`, import.meta.url), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => ({ line, row: JSON.parse(line) }));
}

const files = { generated: read('generated.jsonl'), handMade: read('hand-made.jsonl') };
const all = [...files.generated, ...files.handMade];
const sweepAll = process.env.CARILLON_SWEEP === 'all';

describe('the vector files', () => {
  it.each(['generated', 'handMade'] as const)('%s: the engine answers every row', (name) => {
    for (const { line, row } of files[name]) {
      const answer: Answer = JSON.parse(previewBatchLine(line));
      expect(answer.id).toBe(row.id);
      if (row.error) expect(answer.error, row.id).toMatchObject(row.error);
      else expect(answer.next, row.id).toEqual(row.next);
    }
  });

  it('the walk agrees with the generated rows, and with those by hand that are cron expressions in zones', () => {
    const step = sweepAll ? 1 : 9;
    const checkable = all.filter(({ row }) => row.next && !row.expression.startsWith('@every'));
    for (const { row } of checkable.filter((_, index) => index % step === 0)) {
      const { timezone: timeZone, after, count, next, ...spec } = row;
      const start = typeof after === 'number' ? after : Date.parse(after) / 1000;
      // Only the first year of the search is walked: what is farther was walked when the file was written.
      const walked = oracleNext({ ...spec, timeZone }, start, count, 400);
      const form = (slot: number): string | number =>
        typeof after === 'number' ? slot : new Date(slot * 1000).toISOString().replace('.000Z', 'Z');
      expect(next?.slice(0, walked.length), row.id).toEqual(walked.map(form));
    }
  });

  it('cover every dialect and every policy, with at least a thousand rows and each id once', () => {
    expect(all.length).toBeGreaterThanOrEqual(1000);
    expect(new Set(all.map(({ row }) => row.id)).size).toBe(all.length);
    const tagged = (key: 'dialect' | 'dstGap' | 'dstOverlap', value: string): number =>
      all.filter(({ row }) => row.next && row[key] === value).length;
    for (const dialect of ['STANDARD', 'SECONDS', 'AWS'])
      expect(tagged('dialect', dialect)).toBeGreaterThan(100);
    for (const gap of ['NEXT_VALID', 'SHIFT', 'SKIP']) expect(tagged('dstGap', gap)).toBeGreaterThan(50);
    for (const overlap of ['FIRST', 'LAST', 'BOTH'])
      expect(tagged('dstOverlap', overlap)).toBeGreaterThan(50);
    for (const kind of ['MALFORMED', 'NEVER_FIRES']) {
      expect(all.filter(({ row }) => row.error?.kind === kind).length).toBeGreaterThan(5);
    }
  });
});

describe('a batch line', () => {
  const answer = (request: unknown): Answer => JSON.parse(previewBatchLine(JSON.stringify(request)));

  it('has defaults: STANDARD, UTC, AUTO, one slot', () => {
    expect(answer({ id: 7, expression: '0 0 * * *', after: '2026-01-01T00:00:00Z' })).toEqual({
      id: 7,
      next: ['2026-01-02T00:00:00Z'],
    });
  });

  it('takes any id, also none', () => {
    expect(answer({ id: ['a'], expression: '* * * * *', after: 0 }).id).toEqual(['a']);
    expect(answer({ expression: '* * * * *', after: 0 }).id).toBeNull();
  });

  it.each([
    ['not JSON', 'line'],
    ['[]', 'line'],
    ['null', 'line'],
    ['{"after":0}', 'expression'],
    ['{"expression":5,"after":0}', 'expression'],
    ['{"expression":"* * * * *"}', 'after'],
    ['{"expression":"* * * * *","after":"yesterday"}', 'after'],
    ['{"expression":"* * * * *","after":0,"count":-1}', 'count'],
    ['{"expression":"* * * * *","after":0,"count":10001}', 'count'],
    ['{"expression":"* * * * *","after":0,"count":1.5}', 'count'],
    ['{"expression":"* * * * *","after":0,"timezone":1}', 'timezone'],
    ['{"expression":"* * * * *","after":0,"dialect":"constructor"}', 'dialect'],
  ])('answers %s with an error', (line, field) => {
    const result: Answer = JSON.parse(previewBatchLine(line));
    expect(result.next).toBeUndefined();
    expect(result.error).toMatchObject({ kind: 'MALFORMED', field });
  });

  it('gives fewer slots when no more exist', () => {
    const request = { dialect: 'AWS', expression: '0 0 1 1 ? 2027', after: '2026-01-01T00:00:00Z', count: 9 };
    expect(answer(request).next).toEqual(['2027-01-01T00:00:00Z']);
  });
});
