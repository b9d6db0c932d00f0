import { create, type DescMessage, type Message, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { type Any, anyPack, durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  DomainError,
  type ErrorMetadata,
  type Fault,
  type FieldViolation,
} from '@carillon/core/domain-error.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from '@carillon/gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '@carillon/gen/google/rpc/status_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { databaseFault } from './database-fault.ts';
import type { Logger } from './logger.ts';

/** The `domain` of every ErrorInfo of ours: callers tell our refusals from those of proxies by it. */
export const ERROR_DOMAIN = 'carillon.dev';

// gRPC Java accepts 8 KiB of trailers by default, and details travel there in base64, the message beside them.
const MAX_VIOLATIONS_BYTES = 3 * 1024;
const MAX_MESSAGE_CHARS = 512;
const MAX_TEXT_CHARS = 256;

const CODES = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  NOT_FOUND: Code.NotFound,
  ALREADY_EXISTS: Code.AlreadyExists,
  ABORTED: Code.Aborted,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  PERMISSION_DENIED: Code.PermissionDenied,
  UNAUTHENTICATED: Code.Unauthenticated,
  UNAVAILABLE: Code.Unavailable,
  UNIMPLEMENTED: Code.Unimplemented,
  OUT_OF_RANGE: Code.OutOfRange,
} as const satisfies Record<Fault['kind'], Code>;

/** Where an error happened, so that a hidden one can be found in our log by the id that the caller was given. */
export interface ErrorScene {
  readonly requestId: string;
  readonly logger: Logger;
}

/** An error as a caller gets it, with the constant reason for metrics and logs. */
export interface Refusal {
  readonly error: ConnectError;
  /** The reason of its ErrorInfo; `INTERNAL` for a defect; undefined for errors of the protocol itself. */
  readonly reason: string | undefined;
}

/**
 * The one mapping from what is thrown to what a caller sees: a {@link DomainError} with google.rpc details, the
 * database's known states as UNAVAILABLE, errors of Connect itself unchanged. All else is a defect: logged here with
 * its stack, answered as INTERNAL with the request id and nothing else.
 */
export function toRefusal(thrown: unknown, scene: ErrorScene): Refusal {
  const domain = thrown instanceof DomainError ? thrown : databaseFault(thrown);
  if (domain !== undefined) {
    const reason = reasonOf(domain.fault);
    const error = new ConnectError(
      truncate(domain.message, MAX_MESSAGE_CHARS),
      CODES[domain.kind],
      undefined,
      detailsOf(domain, reason),
      thrown,
    );
    return { error, reason };
  }
  if (thrown instanceof ConnectError) return { error: thrown, reason: undefined };
  scene.logger.error({ err: thrown, requestId: scene.requestId }, 'internal error');
  const error = new ConnectError(
    `internal error; request id ${scene.requestId}`,
    Code.Internal,
    undefined,
    [
      detail(ErrorInfoSchema, { reason: 'INTERNAL', domain: ERROR_DOMAIN }),
      detail(RequestInfoSchema, { requestId: scene.requestId }),
    ],
    thrown,
  );
  return { error, reason: 'INTERNAL' };
}

/** The same mapping as a google.rpc.Status, for one item of a batch whose other items went well. */
export function toStatus(thrown: unknown, scene: ErrorScene): Status {
  const { error } = toRefusal(thrown, scene);
  const details: Any[] = [];
  for (const entry of error.details) {
    if ('desc' in entry) details.push(anyPack(entry.desc, create(entry.desc, entry.value)));
  }
  return create(StatusSchema, { code: error.code, message: error.rawMessage, details });
}

/** `{}`-like detail for ConnectError, typed by its schema. */
interface OutgoingDetail {
  readonly desc: DescMessage;
  readonly value: Message;
}

function detail<D extends DescMessage>(desc: D, value: Parameters<typeof create<D>>[1]): OutgoingDetail {
  return { desc, value: create(desc, value) as MessageShape<D> & Message };
}

function detailsOf({ fault, message }: DomainError, reason: string): OutgoingDetail[] {
  const metadata = 'metadata' in fault ? truncateValues(fault.metadata) : {};
  const details = [detail(ErrorInfoSchema, { reason, domain: ERROR_DOMAIN, metadata })];
  switch (fault.kind) {
    case 'INVALID_ARGUMENT':
    case 'OUT_OF_RANGE':
      details.push(badRequest(fault.violations));
      break;
    case 'NOT_FOUND': {
      const { resourceType, resourceName } = fault;
      details.push(
        detail(ResourceInfoSchema, { resourceType, resourceName: truncate(resourceName, MAX_TEXT_CHARS) }),
      );
      break;
    }
    case 'FAILED_PRECONDITION': {
      const description = truncate(message, MAX_TEXT_CHARS);
      details.push(detail(PreconditionFailureSchema, { violations: [{ type: reason, description }] }));
      break;
    }
    case 'RESOURCE_EXHAUSTED':
    case 'UNAVAILABLE':
      if (fault.retryAfterMs !== undefined) {
        details.push(detail(RetryInfoSchema, { retryDelay: durationFromMs(fault.retryAfterMs) }));
      }
      break;
    default:
      break;
  }
  return details;
}

function badRequest(violations: readonly FieldViolation[]): OutgoingDetail {
  const kept = create(BadRequestSchema);
  let bytes = 0;
  for (const violation of violations) {
    const one = create(BadRequestSchema, {
      fieldViolations: [
        {
          field: truncate(violation.field, MAX_TEXT_CHARS),
          description: truncate(violation.description, MAX_TEXT_CHARS),
          reason: truncate(violation.reason ?? '', MAX_TEXT_CHARS),
        },
      ],
    });
    bytes += toBinary(BadRequestSchema, one).length;
    if (bytes > MAX_VIOLATIONS_BYTES) break;
    kept.fieldViolations.push(...one.fieldViolations);
  }
  return { desc: BadRequestSchema, value: kept };
}

function reasonOf(fault: Fault): string {
  switch (fault.kind) {
    case 'INVALID_ARGUMENT':
    case 'OUT_OF_RANGE':
    case 'NOT_FOUND':
      return fault.kind;
    default:
      return fault.reason;
  }
}

function truncateValues(metadata: ErrorMetadata): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [key, truncate(value, MAX_TEXT_CHARS)]),
  );
}

// By code points, so that no surrogate pair is cut in half.
function truncate(text: string, maxChars: number): string {
  if (text.length <= maxChars) return text;
  const cut = text.slice(0, maxChars - 1);
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`;
}
