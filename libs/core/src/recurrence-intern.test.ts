import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { InternTable } from './recurrence-intern.ts';

describe('an intern table', () => {
  it('makes a value once per key', () => {
    const table = new InternTable<object>();
    const first = table.intern('a', () => ({}));
    expect(table.intern('a', () => ({}))).toBe(first);
    expect(table.intern('b', () => ({}))).not.toBe(first);
    expect(table.size).toBe(2);
  });

  it('keeps nothing of a value that could not be made', () => {
    const table = new InternTable<object>();
    const fail = (): object => {
      throw new Error('no');
    };
    expect(() => table.intern('a', fail)).toThrow('no');
    expect(table.size).toBe(0);
    expect(table.intern('a', () => ({ made: true }))).toEqual({ made: true });
  });

  it('forgets values that nobody holds, and keeps those that somebody does', async () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const table = new InternTable<{ n: number }>();
    const held = table.intern('held', () => ({ n: -1 }));
    for (let n = 0; n < 1000; n++) table.intern(`dropped ${n}`, () => ({ n }));
    for (let turn = 0; turn < 100 && table.size > 1; turn++) {
      await setImmediate();
      collect();
    }
    expect(table.size).toBe(1);
    expect(table.intern('held', () => ({ n: -2 }))).toBe(held);
  });
});
