import { expect, it } from 'vitest';
import { IdleTimes } from './idle-times.ts';

it('tells missed slots from late ones', () => {
  const idle = new IdleTimes();
  expect(idle.missed(5_000, 60_000)).toBe(true);
  idle.note(true, 10_000);
  idle.note(true, 12_000);
  expect(idle.missed(9_999, 60_000)).toBe(true);
  // Late while the scheduler fired: that is its own doing.
  expect(idle.missed(10_000, 60_000)).toBe(false);
  idle.note(false, 20_000);
  idle.note(false, 21_000);
  expect(idle.missed(19_999, 5_000)).toBe(false);
  expect(idle.missed(20_000, 5_000)).toBe(true);
  idle.note(true, 30_000);
  expect(idle.missed(25_000, 5_000)).toBe(true);
  expect(idle.missed(30_000, 5_000)).toBe(false);
});

it('takes what was fired at once for live, even before the scheduler was seen to fire', () => {
  const idle = new IdleTimes();
  expect(idle.missed(5_000, 4)).toBe(false);
});
