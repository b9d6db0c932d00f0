import { type Code, type ContextValues, createContextKey } from '@connectrpc/connect';
import type { Logger } from './logger.ts';
import type { Principal } from './principal.ts';

/** The codes in the order of their numbers. */
const CODE_NAMES = [
  'OK',
  'CANCELED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const;

/** A code as metrics and logs write it. */
export type CodeName = (typeof CODE_NAMES)[number];

/** The name of a Connect code, or of a gRPC status number, 0 being `OK`; `UNKNOWN` for numbers that do not exist. */
export function codeName(code: Code | number): CodeName {
  return CODE_NAMES[code] ?? 'UNKNOWN';
}

/** One call as the server sees it, from its headers to its last byte. */
export class Call {
  /** The caller's `x-request-id`, or a UUID of ours. */
  readonly requestId: string;
  /** Address of the peer, which may be a proxy. */
  readonly peer: string;
  /** As in `carillon.run.v1.RunService`. */
  readonly service: string;
  /** As in `CreateRun`. */
  readonly method: string;
  /** Aborts when the server begins to drain: long polls answer early with what they have. */
  readonly draining: AbortSignal;
  /** Who calls; set before any handler runs. */
  principal: Principal;
  /** How it ended; unset while it runs. */
  code: CodeName | undefined;
  /** Why it was refused, as a constant; unset when it was not. */
  reason: string | undefined;
  readonly #baseLogger: Logger;
  #logger: Logger | undefined;

  constructor(
    init: Pick<Call, 'requestId' | 'peer' | 'service' | 'method' | 'draining' | 'principal' | 'logger'>,
  ) {
    this.requestId = init.requestId;
    this.peer = init.peer;
    this.service = init.service;
    this.method = init.method;
    this.draining = init.draining;
    this.principal = init.principal;
    this.#baseLogger = init.logger;
  }

  /** As in `/carillon.run.v1.RunService/CreateRun`. */
  get procedure(): string {
    return `/${this.service}/${this.method}`;
  }

  /** A logger whose lines carry the request id. */
  get logger(): Logger {
    this.#logger ??= this.#baseLogger.child({ requestId: this.requestId });
    return this.#logger;
  }
}

/** Where interceptors find the call; unset outside a service server, as in an in-memory router of a test. */
export const callKey = createContextKey<Call | undefined>(undefined, { description: 'carillon call' });

/** The call that a handler serves: `callOf(context)`. An Error outside of a service server. */
export function callOf(context: { readonly values: ContextValues }): Call {
  const call = context.values.get(callKey);
  if (call === undefined) throw new Error('this handler is not run by a service server');
  return call;
}
