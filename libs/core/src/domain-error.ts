/** One field of a request that was not accepted. */
export interface FieldViolation {
  /** Path by proto names from the request's root, as in `schedule.spec.cron.expression` or `runs[3].labels["a"]`. */
  readonly field: string;
  /** What is wrong with it, as a sentence for the caller. */
  readonly description: string;
  /** Machine-readable rule, as in `string.max_len` or `CRON_SYNTAX`. Default: none. */
  readonly reason?: string;
}

/** Facts that a machine may read about a refusal. Keys are lowerCamelCase; never secrets. */
export type ErrorMetadata = Readonly<Record<string, string>>;

/**
 * Everything that a service may refuse, by kind. The kinds are the gRPC codes of the same name, so that
 * the mapping to the wire is one-to-one; `reason` is an UPPER_SNAKE_CASE constant that callers may switch on.
 */
export type Fault =
  /** The request can never succeed as it is. */
  | { readonly kind: 'INVALID_ARGUMENT'; readonly violations: readonly FieldViolation[] }
  /** `resourceType` as in `carillon.dev/Schedule`; `resourceName` as the caller gave it. */
  | { readonly kind: 'NOT_FOUND'; readonly resourceType: string; readonly resourceName: string }
  /** The name is taken, by something else than what was asked for. */
  | { readonly kind: 'ALREADY_EXISTS'; readonly reason: string; readonly metadata: ErrorMetadata }
  /** A stale etag or a lost race: read again, decide again, send again. */
  | { readonly kind: 'ABORTED'; readonly reason: string; readonly metadata: ErrorMetadata }
  /** The state forbids it; the same request succeeds only after the state has changed. */
  | { readonly kind: 'FAILED_PRECONDITION'; readonly reason: string; readonly metadata: ErrorMetadata }
  /** A quota or limit. `metadata.project` when it is one project's, so that callers slow that project alone. */
  | {
      readonly kind: 'RESOURCE_EXHAUSTED';
      readonly reason: string;
      readonly metadata: ErrorMetadata;
      /** Milliseconds to wait before the next attempt. Default: the caller's own back-off. */
      readonly retryAfterMs?: number;
    }
  /** The caller is known and may not do this. */
  | { readonly kind: 'PERMISSION_DENIED'; readonly reason: string; readonly metadata: ErrorMetadata }
  /** The caller is not known. */
  | { readonly kind: 'UNAUTHENTICATED'; readonly reason: string }
  /** It may succeed if sent again unchanged. */
  | {
      readonly kind: 'UNAVAILABLE';
      readonly reason: string;
      /** Milliseconds to wait before the next attempt. Default: the caller's own back-off. */
      readonly retryAfterMs?: number;
    }
  /** Known to the protos, not to this server. */
  | { readonly kind: 'UNIMPLEMENTED'; readonly reason: string }
  /** Valid in form, beyond what exists: a page, a time, a revision. */
  | { readonly kind: 'OUT_OF_RANGE'; readonly violations: readonly FieldViolation[] };

/** The kinds of {@link Fault}. */
export type FaultKind = Fault['kind'];

/** A refusal that callers are meant to see. Anything else that is thrown is a defect and is hidden from them. */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  /** What was refused, for programs. */
  readonly fault: Fault;

  constructor(message: string, fault: Fault, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }

  /** Short for `fault.kind`. */
  get kind(): FaultKind {
    return this.fault.kind;
  }
}

/** INVALID_ARGUMENT; the message names the first violation. At least one violation, or it is a RangeError. */
export function invalidArgument(...violations: readonly FieldViolation[]): DomainError {
  return new DomainError(summary(violations), { kind: 'INVALID_ARGUMENT', violations });
}

/** OUT_OF_RANGE; the message names the first violation. At least one violation, or it is a RangeError. */
export function outOfRange(...violations: readonly FieldViolation[]): DomainError {
  return new DomainError(summary(violations), { kind: 'OUT_OF_RANGE', violations });
}

/** NOT_FOUND of a named resource: `notFound('carillon.dev/Schedule', 'projects/p/schedules/s')`. */
export function notFound(resourceType: string, resourceName: string): DomainError {
  return new DomainError(`${resourceName} not found`, { kind: 'NOT_FOUND', resourceType, resourceName });
}

/** ALREADY_EXISTS: `alreadyExists('SPEC_CONFLICT', 'run r exists with another spec', { run: 'r' })`. */
export function alreadyExists(reason: string, message: string, metadata: ErrorMetadata = {}): DomainError {
  return new DomainError(message, { kind: 'ALREADY_EXISTS', reason, metadata });
}

/** ABORTED: a stale etag is `aborted('STALE_ETAG', …, { currentEtag })`. */
export function aborted(reason: string, message: string, metadata: ErrorMetadata = {}): DomainError {
  return new DomainError(message, { kind: 'ABORTED', reason, metadata });
}

/** FAILED_PRECONDITION: `failedPrecondition('STALE_LEASE', 'the lease has passed on')`. */
export function failedPrecondition(
  reason: string,
  message: string,
  metadata: ErrorMetadata = {},
): DomainError {
  return new DomainError(message, { kind: 'FAILED_PRECONDITION', reason, metadata });
}

/** RESOURCE_EXHAUSTED; with `retryAfterMs` callers are told when to come back. */
export function resourceExhausted(
  reason: string,
  message: string,
  metadata: ErrorMetadata = {},
  retryAfterMs?: number,
): DomainError {
  return new DomainError(message, {
    kind: 'RESOURCE_EXHAUSTED',
    reason,
    metadata,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** PERMISSION_DENIED. The message must not tell whether the resource exists. */
export function permissionDenied(reason: string, message: string, metadata: ErrorMetadata = {}): DomainError {
  return new DomainError(message, { kind: 'PERMISSION_DENIED', reason, metadata });
}

/** UNAUTHENTICATED. The message must not repeat the credential. */
export function unauthenticated(reason: string, message: string): DomainError {
  return new DomainError(message, { kind: 'UNAUTHENTICATED', reason });
}

/** UNAVAILABLE; `cause` is for our log, callers do not see it. */
export function unavailable(
  reason: string,
  message: string,
  retryAfterMs?: number,
  cause?: unknown,
): DomainError {
  return new DomainError(
    message,
    { kind: 'UNAVAILABLE', reason, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) },
    cause === undefined ? undefined : { cause },
  );
}

/** UNIMPLEMENTED: a field, policy or backend that this server does not offer. */
export function unimplemented(reason: string, message: string): DomainError {
  return new DomainError(message, { kind: 'UNIMPLEMENTED', reason });
}

function summary(violations: readonly FieldViolation[]): string {
  const first = violations[0];
  if (first === undefined) throw new RangeError('a refused request names at least one violation');
  const more = violations.length === 1 ? '' : ` (and ${violations.length - 1} more)`;
  return `${first.field === '' ? '' : `${first.field}: `}${first.description}${more}`;
}
