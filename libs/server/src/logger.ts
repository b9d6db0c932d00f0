import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

export type { Logger } from 'pino';

/** Levels from the least to the most urgent; `silent` writes nothing. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What every line carries, and how much is written. */
export interface LogOptions {
  /** The service's name, as in `schedules`. */
  readonly service: string;
  /** This process among its replicas: pod name, or host and process id. */
  readonly instance: string;
  /** Default: `info`. */
  readonly level?: LogLevel;
  /** Where lines go. Default: standard output, written synchronously, so that the last line before an exit is kept. */
  readonly destination?: DestinationStream;
}

/** Keys whose values never reach a log, on their own and one or two levels below any object. */
const SECRET_KEYS = [
  'authorization',
  'cookie',
  'password',
  'secret',
  'token',
  'leaseToken',
  'databaseUrl',
  'connectionString',
];

/**
 * JSON lines with `time` (RFC 3339, UTC), `level` as a word, `service` and `instance`. Payloads are never
 * logged at all; redaction is the second line of defence, for objects that are logged whole.
 */
export function createLogger(options: LogOptions): Logger {
  const settings: LoggerOptions = {
    level: options.level ?? 'info',
    base: { service: options.service, instance: options.instance },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError },
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
      censor: '[redacted]',
    },
  };
  return pino(settings, options.destination ?? pino.destination({ dest: 1, sync: true }));
}

/** An error as it is logged. */
interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string | number;
  readonly cause?: LoggedError;
}

// pino's own serializer copies every property, and a database error carries the row's values in `detail`.
function describeError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: error.message,
    ...(error.stack === undefined ? {} : { stack: error.stack }),
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    ...(error.cause === undefined || depth >= 4 ? {} : { cause: describeError(error.cause, depth + 1) }),
  };
}
