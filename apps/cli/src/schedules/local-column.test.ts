import { expect, it } from 'vitest';
import { localColumn } from './local-column.ts';

it('is there when a local time differs from UTC', () => {
  const utc = { localTime: '2026-11-21T16:38:45+00:00' };
  expect(localColumn([utc, utc])).toEqual([]);
  const [column] = localColumn([utc, { localTime: '2026-11-21T17:38:45+01:00' }]);
  expect(column?.title).toBe('LOCAL');
  expect(column?.cell(utc)).toBe(utc.localTime);
});
