import { expect, test } from 'vitest';
import {
  isConflict,
  isConnectionError,
  isDataError,
  isTransient,
  SqlState,
  sqlState,
  violates,
} from './sqlstate.ts';
import { useDatabase } from './test/database.ts';

const database = useDatabase();

function serverError(code: string): Error {
  return Object.assign(new Error('from the server'), { severity: 'ERROR', code });
}

function codedError(code: string): Error {
  return Object.assign(new Error('from the socket'), { code });
}

test.each([
  // error, connection, conflict, transient
  [serverError('08006'), true, false, true],
  [serverError(SqlState.adminShutdown), true, false, true],
  [serverError(SqlState.cannotConnectNow), true, false, true],
  [serverError(SqlState.tooManyConnections), true, false, true],
  [codedError('ECONNREFUSED'), true, false, true],
  [codedError('EPIPE'), true, false, true],
  [new Error('Connection terminated unexpectedly'), true, false, true],
  [new Error('timeout exceeded when trying to connect'), true, false, true],
  [new Error('wrapped', { cause: codedError('ECONNRESET') }), true, false, true],
  [serverError(SqlState.serializationFailure), false, true, true],
  [serverError(SqlState.deadlockDetected), false, true, true],
  [serverError(SqlState.diskFull), false, false, true],
  [serverError(SqlState.lockNotAvailable), false, false, true],
  [serverError(SqlState.readOnlyTransaction), false, false, true],
  [serverError(SqlState.queryCanceled), false, false, false],
  [serverError(SqlState.transactionTimeout), false, false, false],
  [serverError(SqlState.uniqueViolation), false, false, false],
  [codedError('ERR_INVALID_ARG_TYPE'), false, false, false],
  [new Error('Connection is a noun'), false, false, false],
  ['Connection terminated', false, false, false],
  [undefined, false, false, false],
])('%s: connection %s, conflict %s, transient %s', (error, connection, conflict, transient) => {
  expect([isConnectionError(error), isConflict(error), isTransient(error)]).toEqual([
    connection,
    conflict,
    transient,
  ]);
});

test("a socket's code is no SQLSTATE, though it may have five letters", () => {
  expect(sqlState(codedError('EPIPE'))).toBeUndefined();
  expect(sqlState(serverError('23505'))).toBe('23505');
});

test('a violated constraint is known by its name', async () => {
  await database.pool.query('create table t (id int constraint t_id_once unique)');
  const error = await database.pool.query('insert into t values (1), (1)').catch((reason: unknown) => reason);
  expect(sqlState(error)).toBe(SqlState.uniqueViolation);
  expect(violates(error, 't_id_once')).toBe(true);
  expect(violates(error, 'other')).toBe(false);
});

test.each([
  [serverError('22021'), true],
  [serverError('22P02'), true],
  [serverError(SqlState.checkViolation), true],
  [serverError(SqlState.programLimitExceeded), true],
  [serverError(SqlState.indexCorrupted), true],
  [serverError(SqlState.diskFull), false],
  [serverError(SqlState.serializationFailure), false],
  [serverError(SqlState.queryCanceled), false],
  [serverError(SqlState.undefinedTable), false],
  [serverError(SqlState.adminShutdown), false],
  [codedError('ECONNRESET'), false],
  [new Error('Connection terminated unexpectedly'), false],
])('%s is an error of the data: %s', (error, expected) => {
  expect(isDataError(error)).toBe(expected);
});
