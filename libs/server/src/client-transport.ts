import * as http from 'node:http';
import * as https from 'node:https';
import { Code, ConnectError, type Interceptor, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { Http2Probe } from './http2-probe.ts';
import { toNetworkFault } from './network-fault.ts';

/** How to reach a service, and within what limits. Sizes in bytes, times in milliseconds. */
export interface CarillonTransportOptions {
  /** As in `http://127.0.0.1:7001`; `https:` for TLS. */
  readonly baseUrl: string;
  /** Default: `connect`. */
  readonly protocol?: 'connect' | 'grpc' | 'grpc-web';
  /** Default: `2` for gRPC, which needs it, else `1.1`, which cannot be tripped by a peer without HTTP/2. */
  readonly httpVersion?: '1.1' | '2';
  /** Deadline of unary calls that name none. Default 30 s. Streams have none unless the call names one. */
  readonly defaultTimeoutMs?: number;
  /** Largest answer. Default 16 MiB, as servers send. */
  readonly readMaxBytes?: number;
  /** Largest request. Default 4 MiB, as servers accept. */
  readonly writeMaxBytes?: number;
  /** Sent with every call, as in `authorization`. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: none. */
  readonly interceptors?: readonly Interceptor[];
  /** HTTP/1.1 connections at once; further calls wait for one within their deadline. Default 64. */
  readonly maxConnections?: number;
  /** An idle connection is closed after this. Default 60 s, before the server would. */
  readonly idleTimeoutMs?: number;
  /** HTTP/2: a connection with open calls is asked for a sign of life this often. Default 20 s. */
  readonly pingIntervalMs?: number;
  /** HTTP/2: and is given up when none comes within this. Default 5 s. */
  readonly pingTimeoutMs?: number;
  /** TLS material, in PEM, for `https:`. Default: the system's roots and no client certificate. */
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly servername?: string;
  };
}

/** A transport that can be closed. */
export interface CarillonTransport extends Transport {
  /** Closes its connections; calls in flight fail. Harmless when closed before. */
  close(): void;
}

interface Connections {
  readonly transport: Transport;
  /** Rejects when the peer cannot be spoken to; undefined when there is nothing to ask beforehand. */
  readonly probe: Http2Probe | undefined;
  close(): void;
}

/**
 * A transport for calls from service to service: bounded in size, time and connections, and honest about the network.
 * What broke on the way is UNAVAILABLE, whatever connect-node calls it: ABORTED means a stale etag, CANCELED means us.
 */
export function createCarillonTransport(options: CarillonTransportOptions): CarillonTransport {
  const { defaultTimeoutMs = 30_000 } = options;
  const { transport, probe, close } = connect(options);
  const fault = (error: unknown, signal: AbortSignal | undefined): unknown => {
    const seen = toNetworkFault(error, signal);
    if (seen instanceof ConnectError && seen.code === Code.Unavailable) probe?.forget();
    return seen;
  };
  return {
    close,

    async unary(method, signal, timeoutMs, header, input, contextValues) {
      try {
        const limitMs = timeoutMs ?? defaultTimeoutMs;
        await probe?.check(signal, limitMs);
        return await transport.unary(method, signal, limitMs, header, input, contextValues);
      } catch (error) {
        throw fault(error, signal);
      }
    },

    async stream(method, signal, timeoutMs, header, input, contextValues) {
      try {
        await probe?.check(signal, timeoutMs);
        const response = await transport.stream(method, signal, timeoutMs, header, input, contextValues);
        return { ...response, message: guarded(response.message, (error) => fault(error, signal)) };
      } catch (error) {
        throw fault(error, signal);
      }
    },
  };
}

function connect(options: CarillonTransportOptions): Connections {
  const { protocol = 'connect', baseUrl, tls = {}, headers = {} } = options;
  const { httpVersion = protocol === 'grpc' ? '2' : '1.1', idleTimeoutMs = 60_000 } = options;
  const common = {
    baseUrl,
    readMaxBytes: options.readMaxBytes ?? 16 * 1024 * 1024,
    writeMaxBytes: options.writeMaxBytes ?? 4 * 1024 * 1024,
    interceptors: [...(options.interceptors ?? []), headersInterceptor(headers)],
  };
  const create = {
    connect: createConnectTransport,
    grpc: createGrpcTransport,
    'grpc-web': createGrpcWebTransport,
  }[protocol];

  if (httpVersion === '1.1') {
    if (protocol === 'grpc') throw new RangeError('gRPC needs HTTP/2');
    const { maxConnections = 64 } = options;
    const settings = {
      keepAlive: true,
      maxSockets: maxConnections,
      maxFreeSockets: maxConnections,
      timeout: idleTimeoutMs,
    };
    const agent = baseUrl.startsWith('https:')
      ? new https.Agent({ ...settings, ...tls })
      : new http.Agent(settings);
    const transport = create({ ...common, httpVersion, nodeOptions: { agent } });
    return { transport, probe: undefined, close: () => agent.destroy() };
  }

  const pings = {
    pingIntervalMs: options.pingIntervalMs ?? 20_000,
    pingTimeoutMs: options.pingTimeoutMs ?? 5_000,
    idleConnectionTimeoutMs: idleTimeoutMs,
  };
  const sessionManager = new Http2SessionManager(baseUrl, pings, tls);
  const transport = create({ ...common, httpVersion, sessionManager });
  return { transport, probe: new Http2Probe(baseUrl, tls), close: () => sessionManager.abort() };
}

function headersInterceptor(headers: Readonly<Record<string, string>>): Interceptor {
  return (next) => (request) => {
    for (const [name, value] of Object.entries(headers)) request.header.set(name, value);
    return next(request);
  };
}

async function* guarded<T>(
  messages: AsyncIterable<T>,
  fault: (error: unknown) => unknown,
): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw fault(error);
  }
}
