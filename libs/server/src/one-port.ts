import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import type { Clock } from '@carillon/core/clock.ts';
import type { ServerLimits } from './limits.ts';
import type { Logger } from './logger.ts';

/** Receives every request, of HTTP/1.1 and of HTTP/2 alike. */
export type RequestHandler = (
  request: http.IncomingMessage | http2.Http2ServerRequest,
  response: http.ServerResponse | http2.Http2ServerResponse,
) => void;

/** HTTP/2 with prior knowledge begins with this; no HTTP/1.1 method does. */
const PREFACE = Buffer.from('PRI ');

/** Between TCP keep-alive probes the kernel waits this long: a peer that vanished is noticed within a minute. */
const KEEP_ALIVE_DELAY_MS = 30_000;

/**
 * One TCP port for HTTP/1.1 and cleartext HTTP/2: looks at the first bytes of each connection and hands the socket
 * to the server that speaks it. TLS is the mesh's or the load balancer's.
 */
export class OnePort {
  /** Listens and accepts. Fastify's `serverFactory` returns it. */
  readonly server: net.Server;
  readonly #http1: http.Server;
  readonly #http2: http2.Http2Server;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #limits: ServerLimits;
  readonly #sockets = new Set<net.Socket>();
  readonly #undecided = new Set<net.Socket>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #responses = new Set<http.ServerResponse>();
  #draining = false;

  constructor(
    handler: RequestHandler,
    options: { readonly clock: Clock; readonly logger: Logger; readonly limits: ServerLimits },
  ) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#limits = options.limits;
    this.#http1 = this.#createHttp1(handler);
    this.#http2 = this.#createHttp2(handler);
    this.server = net.createServer({
      // The protocol servers answer a peer that has finished sending but still reads.
      allowHalfOpen: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    });
    this.server.maxConnections = options.limits.maxConnections;
    this.server.on('connection', (socket) => this.#accept(socket));
    this.server.on('drop', (peer) => {
      this.#logger.warn({ peer: peer?.remoteAddress }, 'connection refused: maxConnections reached');
    });
    // Node arms its checks of headersTimeout and requestTimeout in this event only, and this server never listens.
    this.server.once('listening', () => this.#http1.emit('listening'));
    // Ends those checks; net.Server's part of it has nothing to close.
    this.server.once('close', () => this.#http1.close(() => undefined));
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  /**
   * Accepts nothing new, sends GOAWAY, closes what is idle, and resolves when every connection has ended: by itself,
   * after its last response, or at once when `signal` aborts.
   */
  async drain(signal: AbortSignal): Promise<void> {
    if (this.#draining) throw new Error('the port is draining already');
    this.#draining = true;
    const closed = new Promise<void>((resolve) => {
      if (this.server.listening) this.server.close(() => resolve());
      else resolve();
    });
    for (const socket of this.#undecided) socket.destroy();
    for (const session of this.#sessions) session.close();
    for (const response of this.#responses) {
      if (!response.headersSent) response.setHeader('connection', 'close');
    }
    this.#http1.closeIdleConnections();
    const destroyAll = (): void => {
      for (const socket of this.#sockets) socket.destroy();
    };
    if (signal.aborted) destroyAll();
    signal.addEventListener('abort', destroyAll, { once: true });
    await closed;
    signal.removeEventListener('abort', destroyAll);
  }

  #accept(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // A reset by the peer is its business; without a listener it would be ours, as an uncaught exception.
    socket.on('error', (error) => this.#logger.debug({ err: error }, 'socket error'));
    this.#sniff(socket);
  }

  #sniff(socket: net.Socket): void {
    this.#undecided.add(socket);
    const timer = this.#clock.after(this.#limits.headersTimeoutMs, () => socket.destroy());
    let seen: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const compared = Math.min(seen.length, PREFACE.length);
      const isPreface = seen.subarray(0, compared).equals(PREFACE.subarray(0, compared));
      if (isPreface && compared < PREFACE.length) return;
      done();
      socket.unshift(seen);
      (isPreface ? this.#http2 : this.#http1).emit('connection', socket);
    };
    const done = (): void => {
      timer.cancel();
      socket.off('readable', onReadable);
      socket.off('end', onEnd);
      socket.off('close', done);
      this.#undecided.delete(socket);
    };
    const onEnd = (): void => void socket.destroy();
    socket.on('readable', onReadable);
    socket.on('end', onEnd);
    socket.on('close', done);
  }

  #createHttp1(handler: RequestHandler): http.Server {
    const { maxHeaderBytes, headersTimeoutMs, requestTimeoutMs, idleTimeoutMs } = this.#limits;
    const server = http.createServer({
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: idleTimeoutMs,
      connectionsCheckingInterval: Math.min(headersTimeoutMs, 5_000),
    });
    server.on('request', (request, response) => {
      if (this.#draining) response.setHeader('connection', 'close');
      this.#responses.add(response);
      response.once('close', () => {
        this.#responses.delete(response);
        if (this.#draining) server.closeIdleConnections();
      });
      handler(request, response);
    });
    return server;
  }

  #createHttp2(handler: RequestHandler): http2.Http2Server {
    const { maxHeaderBytes, maxConcurrentStreams, idleTimeoutMs } = this.#limits;
    const server = http2.createServer({
      settings: { maxConcurrentStreams, maxHeaderListSize: maxHeaderBytes },
      maxHeaderListPairs: 128,
    });
    server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
      session.on('error', (error) => this.#logger.debug({ err: error }, 'HTTP/2 session error'));
      let streams = 0;
      session.on('stream', (stream) => {
        streams += 1;
        stream.once('close', () => {
          streams -= 1;
        });
      });
      // A quiet stream is not an idle connection: watches may say nothing for hours.
      session.setTimeout(idleTimeoutMs, () => {
        if (streams === 0) session.close();
      });
      if (this.#draining) session.close();
    });
    server.on('request', (request, response) => {
      if (headerBytes(request.rawHeaders) <= maxHeaderBytes) {
        handler(request, response);
        return;
      }
      response.statusCode = 431;
      response.end();
      request.resume();
    });
    return server;
  }
}

// Node advertises maxHeaderListSize and does not enforce it. Counted as RFC 9113 (6.5.2) does.
function headerBytes(rawHeaders: readonly string[]): number {
  return rawHeaders.reduce((sum, part) => sum + part.length + 16, 0);
}
