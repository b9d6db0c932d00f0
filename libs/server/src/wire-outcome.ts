import { create, type DescMessage, type MessageShape, toBinary, toJson } from '@bufbuild/protobuf';
import { base64Encode } from '@bufbuild/protobuf/wire';
import { BadRequestSchema, ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import type { UniversalServerResponse } from '@connectrpc/connect/protocol';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { type CodeName, codeName } from './call.ts';
import { ERROR_DOMAIN } from './status.ts';

/** The error of a Connect unary call as it stands in the body. */
interface ErrorBody {
  code?: string;
  message?: string;
  details?: unknown[];
}

/**
 * How a call ended as its caller sees it. Connect parses unary requests before the first interceptor and serializes
 * answers after the last one; what fails there can only be read from the response.
 */
export class WireOutcome {
  #trailer: Headers | undefined;
  #code: CodeName | undefined;

  /** The code that went out; undefined while nothing has, or where the protocol does not say it in passing. */
  get code(): CodeName | undefined {
    const status = this.#trailer?.get('grpc-status');
    return status === null || status === undefined ? this.#code : codeName(Number(status));
  }

  /**
   * Notes the outcome of `response` on its way. A Connect request in JSON that could not be parsed (`parsed` false)
   * leaves with the field violation that any other bad input has.
   */
  async observe(response: UniversalServerResponse, parsed: boolean): Promise<UniversalServerResponse> {
    const contentType = response.header?.get('content-type') ?? '';
    if (response.status !== 200) return this.#refused(response, parsed);
    if (contentType.startsWith('application/grpc-web')) {
      return response.body === undefined ? response : { ...response, body: this.#framed(response.body) };
    }
    this.#trailer = response.trailer;
    return response;
  }

  async #refused(response: UniversalServerResponse, parsed: boolean): Promise<UniversalServerResponse> {
    this.#code = response.status < 500 ? 'INVALID_ARGUMENT' : 'INTERNAL';
    const { body, header } = response;
    if (body === undefined || header === undefined) return response;
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    const bytes = await plain(Buffer.concat(chunks), header);
    const error = parseErrorBody(bytes);
    if (error?.code !== undefined) this.#code = error.code.toUpperCase() as CodeName;
    const isBare = error?.code === 'invalid_argument' && error.details === undefined;
    const described = isBare && !parsed ? Buffer.from(JSON.stringify(describe(error))) : bytes;
    header.set('content-length', String(described.length));
    return { ...response, body: once(described) };
  }

  async *#framed(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of body) {
      // gRPC-Web has its trailers in a last frame of the body.
      if (((chunk[0] ?? 0) & 0x80) !== 0) {
        const status = /grpc-status:\s*(\d+)/i.exec(Buffer.from(chunk.subarray(5)).toString('latin1'))?.[1];
        if (status !== undefined) this.#code = codeName(Number(status));
      }
      yield chunk;
    }
  }
}

/** Undoes Connect's compression: errors are small, once a key of the caller's is not repeated at full length. */
async function plain(bytes: Buffer, header: Headers): Promise<Uint8Array> {
  const encoding = header.get('content-encoding');
  const codec = [compressionGzip, compressionBrotli].find(({ name }) => name === encoding);
  if (codec === undefined) return bytes;
  header.delete('content-encoding');
  return codec.decompress(bytes, 0xffff_ffff);
}

function parseErrorBody(bytes: Uint8Array): ErrorBody | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as ErrorBody;
  } catch {
    return undefined;
  }
}

const MAX_MESSAGE_CHARS = 512;

/** Adds the details of a refusal of ours; protobuf-es names the message and the key, not the path to it. */
function describe(error: ErrorBody): ErrorBody {
  const message = (error.message ?? '').slice(0, MAX_MESSAGE_CHARS);
  const key = /key "([^"]{1,256})" is unknown/.exec(message)?.[1];
  const mistyped = /cannot decode field [\w.]+\.(\w{1,256}) from JSON/.exec(message)?.[1];
  const field = key ?? mistyped ?? '';
  const reason = key !== undefined ? 'UNKNOWN_FIELD' : mistyped !== undefined ? 'JSON_TYPE' : 'JSON_SYNTAX';
  const info = create(ErrorInfoSchema, { reason: 'INVALID_ARGUMENT', domain: ERROR_DOMAIN });
  const violations = create(BadRequestSchema, { fieldViolations: [{ field, description: message, reason }] });
  return {
    ...error,
    message,
    details: [detail(ErrorInfoSchema, info), detail(BadRequestSchema, violations)],
  };
}

function detail<D extends DescMessage>(schema: D, message: MessageShape<D>): unknown {
  const value = base64Encode(toBinary(schema, message), 'std_raw');
  return { type: schema.typeName, value, debug: toJson(schema, message) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
