import { MAX_TIMER_MS } from '@carillon/core/clock.ts';

/** What one server lets its callers use. Sizes in bytes, times in milliseconds. */
export interface ServerLimits {
  /** Largest request message, after decompression. Default 4 MiB. Above it: RESOURCE_EXHAUSTED. */
  readonly readMaxBytes: number;
  /** Largest response message, before compression. Default 16 MiB. Above it: RESOURCE_EXHAUSTED. */
  readonly writeMaxBytes: number;
  /** Longest deadline that a caller may ask for. Default 1 hour. Above it: INVALID_ARGUMENT. */
  readonly maxTimeoutMs: number;
  /** Deadline of unary calls that come without one. Default 60 s: long polls answer before. Streams have none. */
  readonly defaultTimeoutMs: number;
  /** Largest block of request headers. Default 16 KiB. */
  readonly maxHeaderBytes: number;
  /** Time for the first byte, and then for all headers, to arrive. Default 10 s. */
  readonly headersTimeoutMs: number;
  /** Time for a whole request that is not itself a stream to arrive. Default 30 s. */
  readonly requestTimeoutMs: number;
  /** An idle connection is closed after this. Default 75 s, beyond the 60 s of common load balancers. */
  readonly idleTimeoutMs: number;
  /** Connections at once; more are refused. Default 10,000. */
  readonly maxConnections: number;
  /** Streams at once on one HTTP/2 connection. Default 256. */
  readonly maxConcurrentStreams: number;
  /** Time that calls in flight get to finish when the server drains. Default 10 s. */
  readonly drainTimeoutMs: number;
}

/** The defaults of {@link ServerLimits}. */
export const DEFAULT_LIMITS: ServerLimits = {
  readMaxBytes: 4 * 1024 * 1024,
  writeMaxBytes: 16 * 1024 * 1024,
  maxTimeoutMs: 3_600_000,
  defaultTimeoutMs: 60_000,
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  idleTimeoutMs: 75_000,
  maxConnections: 10_000,
  maxConcurrentStreams: 256,
  drainTimeoutMs: 10_000,
};

/** Fills in the defaults. A limit that is not a positive integer, or a timer above a minute, is a RangeError. */
export function withDefaultLimits(given: Partial<ServerLimits> = {}): ServerLimits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!(Number.isSafeInteger(value) && value > 0)) throw new RangeError(`limit ${name} is ${value}`);
  }
  for (const name of [
    'defaultTimeoutMs',
    'headersTimeoutMs',
    'requestTimeoutMs',
    'drainTimeoutMs',
  ] as const) {
    if (limits[name] > MAX_TIMER_MS) throw new RangeError(`limit ${name} is above ${MAX_TIMER_MS} ms`);
  }
  if (limits.headersTimeoutMs > limits.requestTimeoutMs) {
    throw new RangeError('limit headersTimeoutMs is above requestTimeoutMs');
  }
  // Beyond 2^31-1 ms Node's timers fire at once, and the deadline with them.
  if (limits.maxTimeoutMs > 2_147_483_647) throw new RangeError('limit maxTimeoutMs is above 2^31-1 ms');
  return limits;
}
