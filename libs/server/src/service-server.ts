import type { Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createMutableRegistry, type DescMethod } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import type { Clock, Entropy, Timer } from '@carillon/core/clock.ts';
import { file_google_rpc_error_details } from '@carillon/gen/google/rpc/error_details_pb.ts';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { fastify as createFastify, type FastifyError, type FastifyInstance } from 'fastify';
import { Registry } from 'prom-client';
import { callOf, codeName } from './call.ts';
import { CallMetrics } from './call-metrics.ts';
import { addConnectRoutes } from './connect-routes.ts';
import { deadlineInterceptor } from './deadline-interceptor.ts';
import { errorInterceptor } from './error-interceptor.ts';
import { Health, healthService } from './health.ts';
import { type ServerLimits, withDefaultLimits } from './limits.ts';
import type { Logger } from './logger.ts';
import { OnePort, type RequestHandler } from './one-port.ts';
import type { Authenticate } from './principal.ts';
import { registerProcessInfo } from './process-info.ts';
import { Readiness, type ReadinessCheck } from './readiness.ts';
import { addReflection, ReflectionIndex } from './reflection.ts';
import { toRefusal } from './status.ts';
import { RequestValidator, validateInterceptor } from './validate-interceptor.ts';

/** What a service gives to its server. */
export interface ServiceServerOptions {
  /** The service's name, as in `schedules`; told by `/livez`. */
  readonly name: string;
  /** The version that runs, as in `0.1.0`; told by `/livez`. */
  readonly version: string;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  /** Registers the RPCs; `router.service(desc, impl, { readMaxBytes })` overrides limits for one service. */
  readonly routes: (router: ConnectRouter) => void;
  /** Where metrics are registered, and what `/metrics` shows. Default: a new one. */
  readonly registry?: Registry;
  /** What must work for `/readyz` and gRPC health to say yes, by name. Default: nothing. */
  readonly readiness?: Readonly<Record<string, ReadinessCheck>>;
  /** Default: see `DEFAULT_LIMITS`. */
  readonly limits?: Partial<ServerLimits>;
  /** Methods whose handlers check their requests themselves, as batches do item by item. Default: none. */
  readonly selfChecked?: readonly DescMethod[];
  /** Further interceptors; they run after errors and deadlines and before validation. Default: none. */
  readonly interceptors?: readonly Interceptor[];
  /** Who calls. Default: everyone is anonymous, which {@link ServiceServer.listen} warns of. */
  readonly authenticate?: Authenticate;
}

/** A server of one service process. */
export interface ServiceServer {
  /** For further HTTP routes, before `listen`. */
  readonly fastify: FastifyInstance;
  readonly registry: Registry;
  readonly readiness: Readiness;
  /** Opens the port; 0 lets the system choose. Rejects when the port is taken. */
  listen(address: { readonly host: string; readonly port: number }): Promise<{ url: string; port: number }>;
  /**
   * Stops accepting, turns readiness off, ends streams, lets calls in flight finish for `drainTimeoutMs` or until
   * `signal` aborts, then cuts off what is left. Later calls wait for the same end.
   */
  close(signal?: AbortSignal): Promise<void>;
}

/** What is left after the drain is told so, and gets this long to send its last bytes, in milliseconds. */
const FAREWELL_MS = 500;

/** Connect, gRPC, gRPC-Web and JSON, health, reflection, metrics and probes on one port. */
export function createServiceServer(options: ServiceServerOptions): ServiceServer {
  const { clock, logger } = options;
  const limits = withDefaultLimits(options.limits);
  const registry = options.registry ?? new Registry();
  const readiness = new Readiness(clock, options.readiness ?? {});
  const draining = new AbortController();
  const cut = new AbortController();

  const router = createRouter(options, limits, readiness, cut.signal);
  const { fastify, onePort } = createHttp(options, limits);
  registerProcessInfo(registry, options.name, options.version);
  const metrics = new CallMetrics(registry, () => onePort().connections);
  fastify.register(async (scope) =>
    addConnectRoutes(scope, {
      handlers: router.handlers,
      clock,
      entropy: options.entropy,
      logger,
      metrics,
      requestTimeoutMs: limits.requestTimeoutMs,
      draining: draining.signal,
    }),
  );
  addProbes(fastify, options, registry, readiness);

  const close = async (signal: AbortSignal | undefined): Promise<void> => {
    readiness.drain();
    draining.abort(new Error('draining'));
    const destroy = new AbortController();
    let farewell: Timer | undefined;
    const cutOff = (): void => {
      if (cut.signal.aborted) return;
      cut.abort(new ConnectError('the server is shutting down', Code.Unavailable));
      farewell = clock.after(FAREWELL_MS, () => destroy.abort());
    };
    const limit = clock.after(limits.drainTimeoutMs, cutOff);
    if (signal?.aborted) cutOff();
    signal?.addEventListener('abort', cutOff, { once: true });
    try {
      await onePort().drain(destroy.signal);
    } finally {
      limit.cancel();
      farewell?.cancel();
      signal?.removeEventListener('abort', cutOff);
    }
    await fastify.close();
  };
  let closing: Promise<void> | undefined;

  return {
    fastify,
    registry,
    readiness,
    async listen({ host, port }) {
      if (options.authenticate === undefined && !isLoopback(host)) {
        logger.warn({ host }, 'development: no authentication configured, and the port is not on loopback');
      }
      await fastify.listen({ host, port });
      const address = onePort().server.address() as AddressInfo;
      const url = `http://${urlHost(host)}:${address.port}`;
      logger.info({ url, version: options.version }, 'listening');
      return { url, port: address.port };
    },
    close(signal) {
      closing ??= close(signal);
      return closing;
    },
  };
}

function createRouter(
  options: ServiceServerOptions,
  limits: ServerLimits,
  readiness: Readiness,
  shutdownSignal: AbortSignal,
): ConnectRouter {
  const { clock, logger, authenticate } = options;
  const validator = new RequestValidator();
  const types = createMutableRegistry(file_google_rpc_error_details);
  const router = createConnectRouter({
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: limits.readMaxBytes,
    writeMaxBytes: limits.writeMaxBytes,
    maxTimeoutMs: limits.maxTimeoutMs,
    shutdownSignal,
    jsonOptions: {
      // A misspelt field must not be dropped in silence.
      ignoreUnknownFields: false,
      // Without it a google.rpc.Status with details cannot be written as JSON.
      registry: types,
    },
    interceptors: [
      errorInterceptor({ logger }),
      deadlineInterceptor({ clock, logger, defaultTimeoutMs: limits.defaultTimeoutMs }),
      ...(options.interceptors ?? []),
      validateInterceptor(validator, options.selfChecked),
    ],
    ...(authenticate === undefined ? {} : { requestGate: authenticateGate(authenticate, logger) }),
  });
  options.routes(router);
  const services = [...new Set(router.handlers.map((handler) => handler.service)), Health];
  router.service(
    Health,
    healthService({ clock, readiness, services: new Set(services.map((s) => s.typeName)) }),
  );
  addReflection(router, new ReflectionIndex(services));
  for (const { method, service } of router.handlers) {
    validator.prepare(method.input);
    for (const type of nestedTypes(service.file)) types.add(type);
  }
  return router;
}

function createHttp(
  { clock, logger }: ServiceServerOptions,
  limits: ServerLimits,
): { fastify: FastifyInstance; onePort: () => OnePort } {
  let created: OnePort | undefined;
  const fastify: FastifyInstance = createFastify({
    bodyLimit: limits.readMaxBytes,
    serverFactory: (handler) => {
      // Fastify is typed for one kind of server at a time; it treats requests of both kinds alike.
      created = new OnePort(handler as RequestHandler, { clock, logger, limits });
      return created.server as unknown as HttpServer;
    },
  });
  fastify.setErrorHandler((error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) logger.error({ err: error, path: request.routeOptions.url }, 'internal error');
    return reply.code(status).send({ message: status >= 500 ? 'internal error' : error.message });
  });
  fastify.setNotFoundHandler((request, reply) => {
    const message = `${request.url.split('?', 1)[0]} is not served here`;
    if (request.headers['content-type']?.startsWith('application/grpc') !== true) {
      return reply.code(404).send({ code: 'unimplemented', message });
    }
    return reply
      .code(200)
      .headers({
        'content-type': request.headers['content-type'],
        'grpc-status': String(Code.Unimplemented),
        'grpc-message': encodeURI(message),
      })
      .send();
  });
  return {
    fastify,
    onePort: () => {
      if (created === undefined) throw new Error('Fastify has not asked for its server');
      return created;
    },
  };
}

function addProbes(
  fastify: FastifyInstance,
  { name, version }: ServiceServerOptions,
  registry: Registry,
  readiness: Readiness,
): void {
  // Alive means that the event loop answers: what a restart does not cure belongs to readiness.
  fastify.get('/livez', async () => ({ alive: true, name, version }));
  fastify.get('/readyz', async (_request, reply) => {
    const report = await readiness.evaluate();
    return reply.code(report.ready ? 200 : 503).send(report);
  });
  fastify.get('/metrics', async (_request, reply) =>
    reply.header('content-type', registry.contentType).send(await registry.metrics()),
  );
}

/** Health is for probes, which have no credentials. */
function authenticateGate(
  authenticate: Authenticate,
  logger: Logger,
): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    if (context.service.typeName === Health.typeName) return;
    const call = callOf(context);
    try {
      call.principal = await authenticate({
        header: context.requestHeader,
        procedure: call.procedure,
        peer: call.peer,
      });
    } catch (thrown) {
      const { error, reason } = toRefusal(thrown, { requestId: call.requestId, logger });
      call.code = codeName(error.code);
      call.reason = reason;
      throw error;
    }
  };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/** The host under which a server that is bound to `host` is reached from this machine. */
function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}
