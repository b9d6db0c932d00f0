import type { ServerResponse } from 'node:http';
import { constants, type Http2ServerResponse } from 'node:http2';
import type { Clock, Entropy, Timer } from '@carillon/core/clock.ts';
import { createContextValues } from '@connectrpc/connect';
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
  const arrival = limitArrival(handler, request, options);
  metrics.began(call);
  response.setHeader('x-request-id', call.requestId);
  response.once('close', () => {
    arrival?.cancel();
    if (call.code === undefined || call.code === 'OK') {
      call.code = outcome.code ?? call.code ?? (response.writableFinished ? 'UNKNOWN' : 'CANCELED');
    }
    const durationMs = clock.monotonic() - startedAt;
    metrics.ended(call, durationMs);
    const { requestId, procedure, code, reason, peer, principal } = call;
    const line = { requestId, procedure, code, reason, durationMs, peer, subject: principal.subject };
    logger[code === 'OK' ? 'debug' : 'info'](line, 'call');
  });
  respond(handler, request, response, call, outcome).catch((error: unknown) => {
    // Connect has failed outside of any protocol: an unusable Host or path, or a defect of an adapter.
    logger.warn({ err: error, requestId: call.requestId }, 'request could not be served');
    if (response.headersSent) {
      response.destroy();
      return;
    }
    response.statusCode = 400;
    response.end();
  });
}

async function respond(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  call: Call,
  outcome: WireOutcome,
): Promise<void> {
  const values = createContextValues().set(callKey, call);
  const answer = await handler(universalRequestFromNodeRequest(request, response, undefined, values));
  await universalResponseToNodeResponse(await outcome.observe(answer, call.code !== undefined), response);
}

function requestIdOf(request: NodeRequest, entropy: Entropy): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && SANE_REQUEST_ID.test(given) ? given : entropy.uuid();
}

/** HTTP/1.1 has `requestTimeout` for this; Node's HTTP/2 has nothing against a body that trickles in for ever. */
function limitArrival(
  { method }: UniversalHandler,
  request: NodeRequest,
  { clock, requestTimeoutMs }: ConnectRoutesOptions,
): Timer | undefined {
  if (!('stream' in request)) return undefined;
  if (method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming') return undefined;
  const timer = clock.after(requestTimeoutMs, () => request.stream.close(constants.NGHTTP2_CANCEL));
  request.once('end', () => timer.cancel());
  return timer;
}
