import { expect, test } from 'vitest';
import { databaseFault } from './database-fault.ts';

function withCode(code: string, message = 'm'): Error {
  return Object.assign(new Error(message), { code });
}

test.each([
  ['ECONNREFUSED', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['ECONNRESET', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['EAI_AGAIN', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['08000', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['08006', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['08P01', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['57P01', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['57P02', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['57P03', 'UNAVAILABLE', 'DATABASE_UNAVAILABLE'],
  ['40001', 'UNAVAILABLE', 'DATABASE_CONFLICT'],
  ['40P01', 'UNAVAILABLE', 'DATABASE_CONFLICT'],
  ['55P03', 'UNAVAILABLE', 'DATABASE_CONFLICT'],
  ['57014', 'UNAVAILABLE', 'DATABASE_TIMEOUT'],
  ['25006', 'UNAVAILABLE', 'DATABASE_READ_ONLY'],
  ['53300', 'UNAVAILABLE', 'DATABASE_OVERLOADED'],
  ['53200', 'UNAVAILABLE', 'DATABASE_OVERLOADED'],
  ['53100', 'RESOURCE_EXHAUSTED', 'DATABASE_DISK_FULL'],
])('%s is %s with reason %s', (code, kind, reason) => {
  expect(databaseFault(withCode(code))?.fault).toMatchObject({ kind, reason });
});

test('a full disk is no project’s quota', () => {
  expect(databaseFault(withCode('53100'))?.fault).toMatchObject({ metadata: {} });
});

test.each([
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'timeout exceeded when trying to connect',
  'Client has encountered a connection error and is not queryable',
])('the driver’s “%s” is UNAVAILABLE', (message) => {
  expect(databaseFault(new Error(message))?.fault).toMatchObject({
    kind: 'UNAVAILABLE',
    reason: 'DATABASE_UNAVAILABLE',
  });
});

test('causes and aggregates are looked into', () => {
  const inner = withCode('ECONNREFUSED');
  expect(databaseFault(new Error('query failed', { cause: inner }))?.kind).toBe('UNAVAILABLE');
  expect(databaseFault(new AggregateError([new Error('v6'), inner]))?.kind).toBe('UNAVAILABLE');
});

test('a cause that points at itself ends', () => {
  const error = new Error('loop');
  error.cause = error;
  expect(databaseFault(error)).toBeUndefined();
});

test.each([
  ['a constraint', withCode('23505')],
  ['a syntax error', withCode('42601')],
  ['another error', new Error('x is undefined')],
  ['a message in passing', new Error('saw: Connection terminated')],
  ['no error', 'ECONNREFUSED'],
])('%s is a defect, not the database’s state', (_what, thrown) => {
  expect(databaseFault(thrown)).toBeUndefined();
});
