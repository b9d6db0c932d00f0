import type { ServerResponse } from 'node:http';
import { constants, type Http2ServerResponse } from 'node:http2';
import type { Clock, Entropy, Timer } from '@carillon/core/clock.ts';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import type { FastifyInstance } from 'fastify';
import { Call, callKey } from './call.ts';
import type { CallMetrics } from './call-metrics.ts';
import type { Logger } from './logger.ts';
import { ANONYMOUS } from './principal.ts';
import { WireOutcome } from './wire-outcome.ts';

/** What the routes need from the server that they are part of. */
export interface ConnectRoutesOptions {
  readonly handlers: readonly UniversalHandler[];
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  readonly metrics: CallMetrics;
  /** Time for a request that is not a stream to arrive whole, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** Handed to every call: aborts when the server begins to drain. */
  readonly draining: AbortSignal;
}

type NodeRequest = Parameters<typeof universalRequestFromNodeRequest>[0];
type NodeResponse = ServerResponse | Http2ServerResponse;

/** Ids that may go into logs and headers as they are. */
const SANE_REQUEST_ID = /^[\w.:/+=@-]{1,128}$/;

/**
 * Puts the RPCs onto Fastify. Not `@connectrpc/connect-fastify`, because that plugin writes to `console.error`, leaves
 * requests with an unusable Host header without an answer, and says nothing about calls that fail before the first
 * interceptor; each call here ends in one log line and one count, whatever happened to it.
 */
export function addConnectRoutes(fastify: FastifyInstance, options: ConnectRoutesOptions): void {
  // Connect reads the raw body itself, with its own limits.
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', (_request, _payload, done) => done(null, undefined));
  for (const handler of options.handlers) {
    fastify.all(handler.requestPath, (request, reply) => {
      reply.hijack();
      serve(handler, request.raw, reply.raw, options);
    });
  }
}

function serve(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  options: ConnectRoutesOptions,
) {
  const { clock, metrics, logger } = options;
  const startedAt = clock.monotonic();
  const call = new Call({
    requestId: requestIdOf(request, options.entropy),
    peer: request.socket.remoteAddress ?? 'unknown',
    service: handler.service.typeName,
    method: handler.method.name,
    draining: options.draining,
    principal: ANONYMOUS,
    logger,
  });
  const outcome = new WireOutcome();
  const release = limitBody(handler, request, response, options);
  metrics.began(call);
  response.setHeader('x-request-id', call.requestId);
  const closed = new Promise<void>((resolve) => response.once('close', () => resolve()));
  const answered = respond(handler, request, response, call, outcome);
  // A peer that goes away closes the response before the handler has heard of it.
  void Promise.all([closed, answered]).then(() => {
    release();
    if (call.code === undefined || call.code === 'OK') call.code = outcome.code ?? call.code ?? 'CANCELED';
    const durationMs = clock.monotonic() - startedAt;
    metrics.ended(call, durationMs);
    const { requestId, procedure, code, reason, peer, principal } = call;
    const line = { requestId, procedure, code, reason, durationMs, peer, subject: principal.subject };
    logger[code === 'OK' ? 'debug' : 'info'](line, 'call');
  });
}

/** Resolves when there is an answer, which may still be on its way. Never rejects. */
async function respond(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  call: Call,
  outcome: WireOutcome,
): Promise<void> {
  try {
    const values = createContextValues().set(callKey, call);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const answer = await handler({ ...universal, body: bodyOf(request) });
    if (universal.signal.aborted) call.code ??= 'CANCELED';
    const observed = await outcome.observe(answer, call.code !== undefined);
    // Not awaited: it waits for an event that responses do not have.
    universalResponseToNodeResponse(observed, response).catch((error: unknown) => {
      call.logger.debug({ err: error }, 'answer could not be sent');
      response.destroy();
    });
  } catch (error) {
    // There is no protocol to answer in: the Host or the path is unusable.
    call.logger.warn({ err: error }, 'request could not be served');
    call.code ??= 'INVALID_ARGUMENT';
    response.statusCode = 400;
    response.end();
  }
}

/**
 * The body as it arrives. A message cut off between two fields is a valid message, and Node ends the body of a stream
 * that we have reset as if it were complete: what is not complete must fail here.
 */
async function* bodyOf(request: NodeRequest): AsyncGenerator<Uint8Array> {
  // The default iterator destroys a request that is not read to its end, and with it the connection.
  const chunks: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => request.iterator({ destroyOnReturn: false }),
  };
  const brokeOff = (cause?: unknown): ConnectError =>
    new ConnectError('the request ended before it was complete', Code.Canceled, undefined, undefined, cause);
  try {
    yield* chunks;
  } catch (error) {
    throw brokeOff(error);
  }
  const isWhole = 'stream' in request ? !request.stream.aborted && !request.stream.rstCode : request.complete;
  if (!isWhole) throw brokeOff();
}

function requestIdOf(request: NodeRequest, entropy: Entropy): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && SANE_REQUEST_ID.test(given) ? given : entropy.uuid();
}

/** How long a client gets to stop sending after it has been answered, in milliseconds. */
const STOP_SENDING_MS = 1_000;

/**
 * Bounds the time in which a body may arrive, and gets rid of what is left of one that was answered early. Left unread,
 * it would block the next request on HTTP/1.1, and hold the stream on HTTP/2 for as long as the client likes. Node does
 * neither for HTTP/2, nor for HTTP/1.1 once somebody has begun to read. Returns what ends the watch.
 */
function limitBody(
  { method }: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  { clock, requestTimeoutMs }: ConnectRoutesOptions,
): () => void {
  if (!('stream' in request)) {
    response.once('finish', () => request.resume());
    return () => undefined;
  }
  const { stream } = request;
  const timers: Timer[] = [];
  const closeAfter = (delayMs: number, code: number): Timer => {
    const timer = clock.after(delayMs, () => stream.close(code));
    timers.push(timer);
    return timer;
  };
  if (method.methodKind === 'unary' || method.methodKind === 'server_streaming') {
    const arrival = closeAfter(requestTimeoutMs, constants.NGHTTP2_CANCEL);
    request.once('end', () => arrival.cancel());
  }
  // The last frame of the answer has been queued by then. A reset at once would overtake it.
  stream.once('wantTrailers', () => {
    if (request.complete || stream.endAfterHeaders) return;
    request.resume();
    // What RFC 9113 (8.1) has for a complete answer to an incomplete request.
    closeAfter(STOP_SENDING_MS, constants.NGHTTP2_NO_ERROR);
  });
  return () => {
    for (const timer of timers) timer.cancel();
  };
}
