/** The SQLSTATEs that code here tells apart, by the names PostgreSQL's documentation gives them. */
export const SqlState = {
  notNullViolation: '23502',
  foreignKeyViolation: '23503',
  uniqueViolation: '23505',
  checkViolation: '23514',
  exclusionViolation: '23P01',
  restrictViolation: '23001',
  readOnlyTransaction: '25006',
  idleInTransactionTimeout: '25P03',
  transactionTimeout: '25P04',
  invalidPassword: '28P01',
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  undefinedTable: '42P01',
  undefinedObject: '42704',
  duplicateDatabase: '42P04',
  diskFull: '53100',
  tooManyConnections: '53300',
  programLimitExceeded: '54000',
  lockNotAvailable: '55P03',
  queryCanceled: '57014',
  adminShutdown: '57P01',
  crashShutdown: '57P02',
  cannotConnectNow: '57P03',
  dataCorrupted: 'XX001',
  indexCorrupted: 'XX002',
} as const;

/** The five characters that PostgreSQL gave an error; undefined for errors that are not PostgreSQL's. */
export function sqlState(error: unknown): string | undefined {
  // Node's own codes ("EPIPE") can look like a SQLSTATE; only the server's errors bear a severity.
  if (!(error instanceof Error) || !('severity' in error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Whether a row was refused by the constraint or unique index of this name. */
export function violates(error: unknown, constraint: string): boolean {
  return (
    sqlState(error)?.startsWith('23') === true &&
    error instanceof Error &&
    'constraint' in error &&
    error.constraint === constraint
  );
}

/**
 * Whether the connection was lost or could not be had: the database is down, starting, full of connections or out
 * of reach. What a statement did that was under way is then unknown.
 */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const state = sqlState(error);
  if (state !== undefined) return state.startsWith('08') || CONNECTION_STATES.has(state);
  if ('code' in error && typeof error.code === 'string' && SOCKET_CODES.has(error.code)) return true;
  return DRIVER_MESSAGES.test(error.message) || isConnectionError(error.cause);
}

/**
 * Whether the same work may well succeed a little later: the connection is gone, another transaction stood in the
 * way, or the server is short of something. A statement that ran out of its time is not counted, because it may
 * do so each time.
 */
export function isTransient(error: unknown): boolean {
  const state = sqlState(error);
  return isConnectionError(error) || isConflict(error) || (state !== undefined && isShortage(state));
}

/** Whether a transaction failed only because of others beside it, and did nothing. */
export function isConflict(error: unknown): boolean {
  const state = sqlState(error);
  return state === SqlState.serializationFailure || state === SqlState.deadlockDetected;
}

/** Whether a statement failed because of what it was to write, and would fail again: a value, a constraint, or a page on disk. */
export function isDataError(error: unknown): boolean {
  const state = sqlState(error);
  if (state === undefined) return false;
  return DATA_CLASSES.has(state.slice(0, 2)) || DATA_STATES.has(state);
}

function isShortage(state: string): boolean {
  return (
    state.startsWith('53') ||
    state === SqlState.lockNotAvailable ||
    // A primary that has just become a standby: the next connection finds the new primary.
    state === SqlState.readOnlyTransaction
  );
}

/** Data exceptions, violations of constraints. */
const DATA_CLASSES: ReadonlySet<string> = new Set(['22', '23']);

const DATA_STATES: ReadonlySet<string> = new Set([
  SqlState.programLimitExceeded,
  SqlState.dataCorrupted,
  SqlState.indexCorrupted,
]);

const CONNECTION_STATES: ReadonlySet<string> = new Set([
  SqlState.adminShutdown,
  SqlState.crashShutdown,
  SqlState.cannotConnectNow,
  SqlState.tooManyConnections,
]);

const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENOENT',
]);

/** What pg and its pool say in errors that bear no code. */
const DRIVER_MESSAGES =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Client has encountered a connection error|Client was closed)/;
