import { describe, expect, it } from 'vitest';
import { displayWidth, pad, printable, truncate } from './display-text.ts';
import { exactDuration, parseDuration, roughDuration } from './duration.ts';
import { parseInstant, utcText } from './instant.ts';
import { createStyle, wantsStyle } from './style.ts';
import { tableLines } from './table.ts';

describe('durations', () => {
  it.each([
    ['5s', 5_000, '5s'],
    ['250ms', 250, '250ms'],
    ['1h30m', 5_400_000, '1h30m'],
    ['90m', 5_400_000, '1h30m'],
    ['2d', 172_800_000, '2d'],
    ['1w', 604_800_000, '7d'],
    ['0.25s', 250, '250ms'],
    ['0s', 0, '0s'],
  ])('%s', (text, milliseconds, exact) => {
    expect(parseDuration(text)).toBe(milliseconds);
    expect(exactDuration(milliseconds)).toBe(exact);
  });

  it.each(['', '5', 's', '5 s', '5s5', '-5s', '1e3s', '5y', '99999999999999999d'])('refuses %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    [0.4, '0 ms'],
    [42.4, '42 ms'],
    [999.6, '1.0 s'],
    [3_240, '3.2 s'],
    [9_949, '9.9 s'],
    [9_950, '10 s'],
    [59_600, '1 m 00 s'],
    [245_000, '4 m 05 s'],
    [3_599_600, '1 h 00 m'],
    [44_400_000, '12 h 20 m'],
    [792_000_000, '9 d 4 h'],
    [40_000_000_000, '462 d'],
    [353_000_000_000, '11 y'],
  ])('%d ms at a glance', (milliseconds, text) => {
    expect(roughDuration(milliseconds)).toBe(text);
  });
});

describe('instants', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');

  it.each([
    ['now', '2026-11-21 12:00:00Z'],
    ['+90m', '2026-11-21 13:30:00Z'],
    ['-1d', '2026-11-20 12:00:00Z'],
    ['2026-03-29', '2026-03-29 00:00:00Z'],
    ['2026-03-29T01:30', '2026-03-29 01:30:00Z'],
    ['2026-03-29 01:30:15', '2026-03-29 01:30:15Z'],
    ['2026-03-29T01:30:00+02:00', '2026-03-28 23:30:00Z'],
  ])('%s', (text, expected) => {
    expect(utcText(parseInstant(text, '--from', now))).toBe(expected);
  });

  it.each(['', 'soon', '2026-02-30', '2026-13-01', '+2', '25:00', '2026-03-29T25:00:00Z'])(
    'refuses %j',
    (text) => {
      expect(() => parseInstant(text, '--from', now)).toThrow('--from');
    },
  );
});

describe('text on a terminal', () => {
  it('counts cells, not characters', () => {
    expect(displayWidth('héllo')).toBe(5);
    expect(displayWidth('日本')).toBe(4);
    expect(displayWidth('👩‍👩‍👧')).toBe(2);
    expect(displayWidth('\u001b[31mred\u001b[39m')).toBe(3);
    expect(pad('日本', 6)).toBe('日本  ');
  });

  it('is cut with an ellipsis', () => {
    expect(truncate('abcdef', 6)).toBe('abcdef');
    expect(truncate('abcdef', 4)).toBe('abc…');
    expect(truncate('日本語', 4)).toBe('日…');
    expect(truncate('abc', 0)).toBe('');
  });

  it('holds nothing that steers the terminal', () => {
    expect(printable('a\u001b[2J\r\nb\u009b\u202e')).toBe('a�[2J��b��');
  });

  it('is styled on terminals only, and never against NO_COLOR', () => {
    expect(wantsStyle({}, true)).toBe(true);
    expect(wantsStyle({}, false)).toBe(false);
    expect(wantsStyle({ NO_COLOR: '1' }, true)).toBe(false);
    expect(wantsStyle({ FORCE_COLOR: '1' }, false)).toBe(true);
    expect(wantsStyle({ TERM: 'dumb' }, true)).toBe(false);
    expect(createStyle(false).bad('x')).toBe('x');
  });
});

describe('a table', () => {
  const style = createStyle(false);
  const columns = [
    { title: 'NAME', cell: (row: string[]) => row[0] ?? '', flexible: true },
    { title: 'N', cell: (row: string[]) => row[1] ?? '', align: 'right' as const },
    { title: 'NOTE', cell: (row: string[]) => row[2] ?? '', flexible: true },
  ];
  const rows = [
    ['a-very-long-name-indeed', '7', 'short'],
    ['b', '1234', 'a note that goes on and on'],
  ];

  it('is as wide as its content in a pipe', () => {
    expect(tableLines(columns, rows, { style, columns: undefined })).toEqual([
      'NAME                        N  NOTE',
      'a-very-long-name-indeed     7  short',
      'b                        1234  a note that goes on and on',
    ]);
  });

  it('takes from its widest flexible columns to fit a terminal', () => {
    const lines = tableLines(columns, rows, { style, columns: 40 });
    expect(lines).toEqual([
      'NAME                 N  NOTE',
      'a-very-long-nam…     7  short',
      'b                 1234  a note that goe…',
    ]);
  });

  it('is nothing without rows', () => {
    expect(tableLines(columns, [], { style, columns: 80 })).toEqual([]);
  });
});
