import { expect, test } from 'vitest';
import {
  DomainError,
  invalidArgument,
  notFound,
  outOfRange,
  resourceExhausted,
  unavailable,
} from './domain-error.ts';

test('a refusal is an Error with its fault, cause and stack', () => {
  const cause = new Error('socket');
  const error = unavailable('DATABASE_UNAVAILABLE', 'the database cannot be reached', 500, cause);
  expect(error).toBeInstanceOf(DomainError);
  expect(error).toMatchObject({
    name: 'DomainError',
    kind: 'UNAVAILABLE',
    message: 'the database cannot be reached',
    fault: { kind: 'UNAVAILABLE', reason: 'DATABASE_UNAVAILABLE', retryAfterMs: 500 },
    cause,
  });
  expect(error.stack).toContain('domain-error.test.ts');
});

test('the message names the first violation and counts the others', () => {
  const one = { field: 'spec.rate', description: 'must be above 0' };
  expect(invalidArgument(one).message).toBe('spec.rate: must be above 0');
  expect(outOfRange(one, one, one).message).toBe('spec.rate: must be above 0 (and 2 more)');
  expect(invalidArgument({ field: '', description: 'must be an object' }).message).toBe('must be an object');
});

test('a refusal without a violation is a defect', () => {
  expect(() => invalidArgument()).toThrow(RangeError);
});

test('absent options are absent, not undefined', () => {
  expect(Object.keys(resourceExhausted('QUOTA', 'full').fault)).toEqual(['kind', 'reason', 'metadata']);
  expect('cause' in unavailable('A', 'b')).toBe(false);
  expect(notFound('carillon.dev/Run', 'r').message).toBe('r not found');
});
