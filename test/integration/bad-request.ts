import { type DescMessage, fromBinary, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { BadRequestSchema, ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';

/** A request that must be refused, and how. */
export interface BadRequest {
  /** What is bad about it. */
  readonly bad: string;
  /** The method, as in `CreateSchedule`. */
  readonly method: string;
  /** The message as JSON: sent as it is, and as the binary form of the message that it denotes. */
  readonly message?: JsonValue;
  /** A body that denotes no message, or none that JSON can hold: sent as JSON only. */
  readonly json?: string;
  /** Likewise, in binary only. */
  readonly binary?: Uint8Array;
  /** The code, as Connect writes it. */
  readonly code: string;
  /** A field that must be named by a violation. */
  readonly field?: string;
  /** The reason of the ErrorInfo, or of the field's violation. */
  readonly reason?: string;
  /** A part of the message, or of the violation's description. */
  readonly says?: string;
}

/** How a request was refused. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly reason: string;
  readonly violations: readonly {
    readonly field: string;
    readonly reason: string;
    readonly description: string;
  }[];
}

/** The bodies of a bad request, by content type. */
export function bodiesOf(
  request: BadRequest,
  input: DescMessage,
): (readonly [type: string, body: string | Uint8Array])[] {
  const bodies: (readonly [string, string | Uint8Array])[] = [];
  if (request.json !== undefined) bodies.push(['application/json', request.json]);
  if (request.binary !== undefined) bodies.push(['application/proto', request.binary]);
  if (request.message !== undefined) {
    bodies.push(['application/json', JSON.stringify(request.message)]);
    bodies.push(['application/proto', toBinary(input, fromJson(input, request.message))]);
  }
  return bodies;
}

/** Sends a body by the Connect protocol, without a client of ours; undefined if it is not refused. */
export async function send(
  url: string,
  type: string,
  body: string | Uint8Array,
): Promise<Refusal | undefined> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': type },
    body: Buffer.from(body),
  });
  if (response.ok) return undefined;
  const error = (await response.json()) as {
    code: string;
    message?: string;
    details?: { type: string; value: string }[];
  };
  const details = new Map(error.details?.map((detail) => [detail.type, Buffer.from(detail.value, 'base64')]));
  const info = details.get(ErrorInfoSchema.typeName);
  const badRequest = details.get(BadRequestSchema.typeName);
  return {
    code: error.code,
    message: error.message ?? '',
    reason: info === undefined ? '' : fromBinary(ErrorInfoSchema, info).reason,
    violations: badRequest === undefined ? [] : fromBinary(BadRequestSchema, badRequest).fieldViolations,
  };
}
