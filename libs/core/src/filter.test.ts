import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DomainError } from './domain-error.ts';
import { MAX_FILTER_TERMS, parseFilter } from './filter.ts';

function refusal(text: string): string {
  try {
    parseFilter(text);
  } catch (error) {
    if (error instanceof DomainError && error.fault.kind === 'INVALID_ARGUMENT') {
      const [violation] = error.fault.violations;
      expect(violation?.field).toBe('filter');
      return violation?.description ?? '';
    }
    throw error;
  }
  return 'accepted';
}

describe('filters', () => {
  it('are empty when the text is', () => {
    expect(parseFilter('')).toEqual([]);
    expect(parseFilter(' \t')).toEqual([]);
  });

  it('read comparisons joined by AND', () => {
    expect(
      parseFilter('state = ACTIVE AND labels.team = "payments" AND create_time>=2026-11-01T00:00:00Z'),
    ).toEqual([
      {
        field: 'state',
        key: undefined,
        operator: '=',
        value: { text: 'ACTIVE', prefix: false, column: 9 },
        column: 1,
      },
      {
        field: 'labels',
        key: 'team',
        operator: '=',
        value: { text: 'payments', prefix: false, column: 34 },
        column: 20,
      },
      {
        field: 'create_time',
        key: undefined,
        operator: '>=',
        value: { text: '2026-11-01T00:00:00Z', prefix: false, column: 62 },
        column: 49,
      },
    ]);
  });

  it('read keys with dots, slashes and quotes', () => {
    expect(parseFilter('labels.app.example.com/part-of=x')[0]).toMatchObject({
      field: 'labels',
      key: 'app.example.com/part-of',
    });
    expect(parseFilter(`labels."a b*" != 'c'`)[0]).toMatchObject({ key: 'a b*', operator: '!=' });
    expect(parseFilter('labels.__proto__ = x')[0]).toMatchObject({ key: '__proto__' });
  });

  it('read prefixes', () => {
    expect(parseFilter('task = reports.*')[0]?.value).toMatchObject({ text: 'reports.', prefix: true });
    expect(parseFilter('task = "reports.*"')[0]?.value).toMatchObject({ text: 'reports.', prefix: true });
    expect(parseFilter('task = "reports.\\*"')[0]?.value).toMatchObject({ text: 'reports.*', prefix: false });
    expect(parseFilter('task = *')[0]?.value).toMatchObject({ text: '', prefix: true });
  });

  it.each([
    ['state', 'column 6: one of = != < <= > >= must stand here, but the filter ends'],
    ['state =', 'column 8: a value must stand here, but the filter ends'],
    ['state : ACTIVE', 'column 7: one of = != < <= > >= must stand here, not ":"'],
    ['= ACTIVE', 'column 1: a field name must stand here, not "="'],
    ['(state = ACTIVE)', 'column 1: a field name must stand here, not "("'],
    ['state = ACTIVE OR state = PAUSED', 'column 16: comparisons are joined by AND, not "OR"'],
    ['NOT state = ACTIVE', 'column 1: NOT is not supported; use = and != joined by AND'],
    ['state = ACTIVE AND', 'column 19: a comparison must follow AND, but the filter ends'],
    ['state = ACTIVE; drop table schedules', 'column 15: comparisons are joined by AND, not ";"'],
    ['labels. = x', 'column 8: a key must follow the dot'],
    ['labels.team = "x', 'column 15: the text that begins here has no closing "'],
    ['task = "a\\', 'column 10: a character must follow the backslash'],
    ['task = a*b', 'column 8: a * stands at the end of a value only; quote it as \\*'],
    ['task = "a*b"', 'column 10: a * stands at the end of a value only; write \\* for the character'],
    ['task < a*', 'column 8: a * at the end goes with = and != only'],
    ['task = "\u0000"', 'column 8: the text holds an impossible character'],
    ['1a = b', 'column 1: a field name must stand here, not "1a"'],
  ])('refuse %j', (text, problem) => {
    expect(refusal(text)).toBe(problem);
  });

  it('have at most 20 comparisons', () => {
    const terms = Array.from({ length: MAX_FILTER_TERMS }, (_, index) => `labels.l${index} = x`);
    expect(parseFilter(terms.join(' AND '))).toHaveLength(MAX_FILTER_TERMS);
    expect(refusal([...terms, 'state = ACTIVE'].join(' AND '))).toContain('at most 20 comparisons');
  });

  it('read back any quoted text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\u0000')),
        (text) => {
          const quoted = `"${text.replaceAll(/["\\*]/g, '\\$&')}"`;
          expect(parseFilter(`task = ${quoted}`)[0]?.value).toMatchObject({ text, prefix: false });
        },
      ),
    );
  });

  it('accept or refuse any text, and say where', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const problem = refusal(text);
        if (problem !== 'accepted') expect(problem).toMatch(/^column \d+: /);
      }),
    );
  });
});
