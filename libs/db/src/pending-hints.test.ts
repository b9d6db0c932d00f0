import { expect, test } from 'vitest';
import { PendingHints } from './pending-hints.ts';

test('keeps distinct payloads by channel, and hands them out once', () => {
  const hints = new PendingHints();
  expect(hints.isEmpty).toBe(true);
  hints.add('a', '1');
  hints.add('a', '2');
  hints.add('a', '1');
  hints.add('b', '');
  expect(hints.take()).toEqual(
    new Map([
      ['a', new Set(['1', '2'])],
      ['b', new Set([''])],
    ]),
  );
  expect(hints.isEmpty).toBe(true);
});

test('says "many" beyond a thousand', () => {
  const hints = new PendingHints();
  for (let i = 0; i < 1_000; i++) hints.add('a', String(i));
  hints.add('a', '7');
  hints.add('b', '1');
  expect(hints.take().get('a')).toHaveLength(1_000);
  for (let i = 0; i < 50_000; i++) hints.add('a', String(i));
  expect(hints.take()).toEqual(new Map([['a', 'many']]));
  hints.add('a', '1');
  expect(hints.take()).toEqual(new Map([['a', new Set(['1'])]]));
});
