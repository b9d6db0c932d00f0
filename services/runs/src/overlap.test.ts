import type { KeyedRun } from '@carillon/db/tables/keyed-runs.ts';
import { expect, test } from 'vitest';
import { decideBeside, decideOverlap, othersToStop } from './overlap.ts';

const asked = (
  concurrency_policy: Parameters<typeof decideOverlap>[0]['concurrency_policy'],
  concurrency_limit: number,
  nominal_micros = 100,
) => ({ concurrency_policy, concurrency_limit, nominal_micros });

function other(nominal_micros: number, going = true): KeyedRun {
  const run_id = `at-${nominal_micros}`;
  const name = { project: 'p', domain: 'd', run_id, day: '2026-11-01' };
  return { ...name, key: 'k', nominal_micros, going, concurrency_limit: 1 };
}

test.each([
  ['ALLOW', 0, 1_000, false, 'STARTED'],
  ['ALLOW', 2, 1, false, 'STARTED'],
  ['ALLOW', 2, 2, false, 'SKIPPED'],
  ['SKIP', 1, 0, false, 'STARTED'],
  ['SKIP', 1, 1, false, 'SKIPPED'],
  ['SKIP', 3, 2, false, 'STARTED'],
  ['BUFFER_ONE', 1, 0, false, 'STARTED'],
  ['BUFFER_ONE', 1, 1, false, 'BUFFERED'],
  ['BUFFER_ONE', 1, 1, true, 'SKIPPED'],
  ['BUFFER_ALL', 2, 1, false, 'STARTED'],
  ['BUFFER_ALL', 2, 2, false, 'BUFFERED'],
  ['BUFFER_ALL', 2, 2, true, 'BUFFERED'],
  // A buffer that waits for a lower limit of before is not overtaken.
  ['BUFFER_ALL', 5, 2, true, 'BUFFERED'],
] as const)('%s with the limit %i beside %i, buffered %s: %s', (policy, limit, going, buffered, outcome) => {
  expect(decideOverlap(asked(policy, limit), { going, buffered }).outcome).toBe(outcome);
});

test('who stops others keeps the latest, as many as its limit leaves beside it', () => {
  const others = [other(90, false), other(80), other(70)];
  expect(othersToStop(asked('CANCEL_OTHER', 1), others)).toEqual({ stop: others });
  expect(othersToStop(asked('CANCEL_OTHER', 2), others)).toEqual({ stop: others.slice(1) });
  expect(othersToStop(asked('CANCEL_OTHER', 4), others)).toEqual({ stop: [] });
});

test('who stops others is skipped where it would stop one that is not of an earlier nominal time', () => {
  expect(othersToStop(asked('TERMINATE_OTHER', 1, 100), [other(100), other(70)])).toMatchObject({
    outcome: 'SKIPPED',
  });
  expect(othersToStop(asked('TERMINATE_OTHER', 2, 75), [other(80), other(70)])).toEqual({
    stop: [other(70)],
  });
});

test.each([
  ['TERMINATE_OTHER', 1, 0, false, 'STARTED'],
  ['CANCEL_OTHER', 1, 0, false, 'STARTED'],
  ['CANCEL_OTHER', 1, 1, false, 'BUFFERED'],
  ['CANCEL_OTHER', 2, 1, true, 'BUFFERED'],
] as const)(
  '%s with the limit %i, when %i are left going, buffered %s: %s',
  (policy, limit, going, buffered, outcome) => {
    expect(decideBeside(asked(policy, limit), { going, buffered }).outcome).toBe(outcome);
  },
);
