import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type CarillonTransport,
  type CarillonTransportOptions,
  createCarillonTransport,
} from './client-transport.ts';
import { startServer } from './server-under-test.ts';

const NAME = 'projects/p/domains/d/schedules/s';

const KINDS: readonly [string, Omit<CarillonTransportOptions, 'baseUrl'>][] = [
  ['Connect over HTTP/1.1', {}],
  ['Connect over HTTP/2', { httpVersion: '2' }],
  ['gRPC', { protocol: 'grpc' }],
  ['gRPC-Web', { protocol: 'grpc-web' }],
];

const opened: { close(): unknown }[] = [];

afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

function transportTo(baseUrl: string, options: Omit<CarillonTransportOptions, 'baseUrl'>): CarillonTransport {
  const transport = createCarillonTransport({ baseUrl, ...options });
  opened.push(transport);
  return transport;
}

function clientOf(baseUrl: string, options: Omit<CarillonTransportOptions, 'baseUrl'>) {
  return createClient(ScheduleService, transportTo(baseUrl, options));
}

/** A server that is none of ours. */
async function listen(server: net.Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(server);
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

async function codeOf(call: Promise<unknown>): Promise<Code> {
  return call.then(
    () => {
      throw new Error('the call did not fail');
    },
    (error: unknown) => ConnectError.from(error).code,
  );
}

const strangers: Readonly<Record<string, () => net.Server>> = {
  'speaks HTTP/1.1 only, and is no RPC server': () =>
    http.createServer((_request, response) => response.end('hello')),
  'speaks another protocol': () =>
    net.createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('SSH-2.0-OpenSSH_9.9\r\n'.repeat(5));
    }),
  'closes at once': () => net.createServer((socket) => void socket.destroy()),
  'resets at once': () => net.createServer((socket) => void socket.resetAndDestroy()),
};

describe.each(KINDS)('%s', (_kind, options) => {
  test('calls, with headers of ours', async () => {
    await using target = await startServer({
      schedules: {
        getSchedule: (_request, { requestHeader }) => ({
          schedule: { name: requestHeader.get('x-a') ?? '' },
        }),
      },
    });
    const client = clientOf(target.url, { ...options, headers: { 'x-a': 'b' } });
    expect((await client.getSchedule({ name: NAME })).schedule?.name).toBe('b');
  });

  test('puts its default deadline on unary calls and none on streams', async () => {
    await using target = await startServer({
      schedules: { getSchedule: () => new Promise(() => undefined) },
      runs: {
        async *watchRuns() {
          yield {};
          await new Promise((resolve) => setTimeout(resolve, 300));
          yield {};
        },
      },
    });
    const transport = transportTo(target.url, { ...options, defaultTimeoutMs: 100 });
    expect(await codeOf(createClient(ScheduleService, transport).getSchedule({ name: NAME }))).toBe(
      Code.DeadlineExceeded,
    );
    let count = 0;
    for await (const _ of createClient(RunService, transport).watchRuns({ parent: 'projects/p/domains/d' }))
      count += 1;
    expect(count).toBe(2);
  });

  test('an idle limit does not cut a call that takes longer', async () => {
    await using target = await startServer({
      schedules: { getSchedule: () => new Promise((resolve) => setTimeout(() => resolve({}), 400)) },
    });
    const client = clientOf(target.url, { ...options, idleTimeoutMs: 100 });
    await client.getSchedule({ name: NAME });
    await client.getSchedule({ name: NAME });
  });

  test('bounds what it sends and what it reads', async () => {
    await using target = await startServer({
      schedules: { getSchedule: () => ({ schedule: { description: 'x'.repeat(2_000) } }) },
    });
    const client = clientOf(target.url, { ...options, readMaxBytes: 1_000, writeMaxBytes: 1_000 });
    expect(await codeOf(client.getSchedule({ name: NAME }))).toBe(Code.ResourceExhausted);
    expect(await codeOf(client.getSchedule({ name: 'x'.repeat(2_000) }))).toBe(Code.ResourceExhausted);
  });

  test('nobody there is UNAVAILABLE', async () => {
    const server = net.createServer();
    const url = await listen(server);
    server.close();
    await once(server, 'close');
    const client = clientOf(url, options);
    for (let call = 0; call < 3; call++)
      expect(await codeOf(client.getSchedule({ name: NAME }))).toBe(Code.Unavailable);
  });

  test.each(Object.keys(strangers))(
    'a peer that %s fails every call, and nothing but the call',
    async (stranger) => {
      const url = await listen(strangers[stranger]?.() ?? net.createServer());
      const client = clientOf(url, options);
      for (let call = 0; call < 3; call++) {
        const code = await codeOf(client.getSchedule({ name: NAME }));
        // gRPC-Web takes the first bytes of `hello` for a length. None of these is an answer that callers act upon.
        expect([Code.Unavailable, Code.Unknown, Code.ResourceExhausted]).toContain(code);
      }
    },
  );

  test('a server that goes away in the middle of a call is UNAVAILABLE, not ABORTED', async () => {
    const entered = Promise.withResolvers<void>();
    await using target = await startServer({
      schedules: {
        getSchedule: () => {
          entered.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    // A proxy, since a server of ours would say goodbye.
    const sockets: net.Socket[] = [];
    const url = await listen(
      net.createServer((socket) => {
        const upstream = net.connect(target.port, '127.0.0.1');
        sockets.push(socket);
        for (const side of [socket, upstream]) side.on('error', () => undefined);
        socket.pipe(upstream).pipe(socket);
      }),
    );
    const call = codeOf(clientOf(url, options).getSchedule({ name: NAME }));
    await entered.promise;
    for (const socket of sockets) socket.resetAndDestroy();
    expect(await call).toBe(Code.Unavailable);
  });

  test('a server that comes back is found again', async () => {
    const schedules = { getSchedule: () => ({}) };
    const first = await startServer({ schedules });
    const client = clientOf(first.url, options);
    await client.getSchedule({ name: NAME });
    await first.server.close();
    expect(await codeOf(client.getSchedule({ name: NAME }))).toBe(Code.Unavailable);
    await using _second = await startServer({ schedules }, first.port);
    await client.getSchedule({ name: NAME });
  });

  test('our own cancel stays CANCELED', async () => {
    const entered = Promise.withResolvers<void>();
    await using target = await startServer({
      schedules: {
        getSchedule: () => {
          entered.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    const abort = new AbortController();
    const call = codeOf(clientOf(target.url, options).getSchedule({ name: NAME }, { signal: abort.signal }));
    await entered.promise;
    abort.abort();
    expect(await call).toBe(Code.Canceled);
  });

  test('close leaves no connection', async () => {
    await using target = await startServer({ schedules: { getSchedule: () => ({}) } });
    const transport = transportTo(target.url, options);
    await createClient(ScheduleService, transport).getSchedule({ name: NAME });
    const connections = async () => {
      const text = await (await fetch(`${target.url}/metrics`, { headers: { connection: 'close' } })).text();
      return Number(/^carillon_server_connections (\d+)/m.exec(text)?.[1]);
    };
    expect(await connections()).toBeGreaterThan(1);
    transport.close();
    await expect.poll(connections).toBe(1);
  });
});

test('HTTP/1.1 connections are bounded, and calls beyond wait', async () => {
  let inFlight = 0;
  let most = 0;
  await using target = await startServer({
    schedules: {
      getSchedule: async () => {
        most = Math.max(most, ++inFlight);
        await new Promise((resolve) => setTimeout(resolve, 20));
        inFlight -= 1;
        return {};
      },
    },
  });
  const client = clientOf(target.url, { maxConnections: 3 });
  await Promise.all(Array.from({ length: 12 }, () => client.getSchedule({ name: NAME })));
  expect(most).toBe(3);
});

test('a peer that accepts and says nothing is UNAVAILABLE within the deadline, over HTTP/2', async () => {
  const url = await listen(net.createServer((socket) => void socket.on('error', () => undefined)));
  const client = clientOf(url, { protocol: 'grpc', defaultTimeoutMs: 150 });
  expect(await codeOf(client.getSchedule({ name: NAME }))).toBe(Code.Unavailable);
});

test('gRPC over HTTP/1.1 is refused at once', () => {
  expect(() =>
    createCarillonTransport({ baseUrl: 'http://127.0.0.1:1', protocol: 'grpc', httpVersion: '1.1' }),
  ).toThrow(RangeError);
});
