import { type DomainError, resourceExhausted, unavailable } from '@carillon/core/domain-error.ts';

/** Errors of the socket to the database, or of the look-up of its name. */
const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** What the driver and its pool say without any code. */
const CONNECTION_MESSAGES = [
  'Connection terminated',
  'Connection ended unexpectedly',
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'Cannot use a pool after calling end on the pool',
  'Query read timeout',
];

/** SQLSTATEs that pass by themselves, with the reason that callers see. */
const TRANSIENT_STATES: Readonly<Record<string, string>> = {
  '25006': 'DATABASE_READ_ONLY',
  '25P03': 'DATABASE_UNAVAILABLE',
  '40001': 'DATABASE_CONFLICT',
  '40P01': 'DATABASE_CONFLICT',
  '55P03': 'DATABASE_CONFLICT',
  '57014': 'DATABASE_TIMEOUT',
  '57P01': 'DATABASE_UNAVAILABLE',
  '57P02': 'DATABASE_UNAVAILABLE',
  '57P03': 'DATABASE_UNAVAILABLE',
  '57P05': 'DATABASE_UNAVAILABLE',
};

const DISK_FULL = '53100';

/**
 * Recognises errors of PostgreSQL, its driver and its pool that are the database's state and not a defect of ours, by
 * their shape, so that the server kit needs no driver. Undefined for anything else.
 */
export function databaseFault(error: unknown): DomainError | undefined {
  for (const link of chain(error)) {
    const code = 'code' in link && typeof link.code === 'string' ? link.code : '';
    if (code === DISK_FULL) return resourceExhausted('DATABASE_DISK_FULL', 'the database has no space left');
    const reason = reasonOf(code, link.message);
    if (reason !== undefined) return unavailable(reason, MESSAGES[reason] ?? UNAVAILABLE, undefined, error);
  }
  return undefined;
}

const UNAVAILABLE = 'the database cannot be reached';
const MESSAGES: Readonly<Record<string, string>> = {
  DATABASE_CONFLICT: 'the database had to abandon the change; send it again',
  DATABASE_OVERLOADED: 'the database has no capacity left',
  DATABASE_READ_ONLY: 'the database does not accept changes',
  DATABASE_TIMEOUT: 'the database took too long',
};

function reasonOf(code: string, message: string): string | undefined {
  const transient = TRANSIENT_STATES[code];
  if (transient !== undefined) return transient;
  if (/^08[0-9A-Z]{3}$/.test(code) || CONNECTION_CODES.has(code)) return 'DATABASE_UNAVAILABLE';
  if (/^53[0-9A-Z]{3}$/.test(code)) return 'DATABASE_OVERLOADED';
  if (CONNECTION_MESSAGES.some((known) => message.startsWith(known))) return 'DATABASE_UNAVAILABLE';
  return undefined;
}

// A failed connect to a name with several addresses is an AggregateError; query builders wrap by `cause`.
function* chain(error: unknown, depth = 0): Generator<Error> {
  if (!(error instanceof Error) || depth > 4) return;
  yield error;
  if (error instanceof AggregateError) for (const inner of error.errors) yield* chain(inner, depth + 1);
  yield* chain(error.cause, depth + 1);
}
