import { expect, test } from 'vitest';
import { storableText } from './storable-text.ts';

test.each([
  ['plain text', 'plain text'],
  ['', ''],
  ['a\0b', 'a\u{fffd}b'],
  ['half \ud83d', 'half \u{fffd}'],
  ['\udd14 half', '\u{fffd} half'],
  ['exactly 16 long!', 'exactly 16 long!'],
  ['longer than 16, by far', 'longer than 16,…'],
  ['fourteen, then🤔 ', 'fourteen, then…'],
])('%j becomes %j', (text, stored) => {
  expect(storableText(text, 16)).toBe(stored);
  expect(Buffer.from(stored, 'utf8').toString('utf8')).toBe(stored);
});
