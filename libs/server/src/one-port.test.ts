import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import * as net from 'node:net';
import { text } from 'node:stream/consumers';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Health } from '@carillon/gen/grpc/health/v1/health_pb.ts';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { startServer } from './server-under-test.ts';

const NAME = 'projects/p/domains/d/schedules/s';
const GET = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n';

function dial(port: number): net.Socket {
  const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => undefined);
  return socket;
}

async function write(socket: net.Socket, chunk: string | Buffer): Promise<void> {
  await new Promise<void>((resolve) => socket.write(chunk, () => resolve()));
  // Lets the server see this chunk on its own.
  await new Promise((resolve) => setImmediate(() => setTimeout(resolve, 5)));
}

/** A handler that answers when told to. */
function gate() {
  const entered = Promise.withResolvers<void>();
  const open = Promise.withResolvers<void>();
  const schedules = {
    getSchedule: async ({ name }: { name: string }) => {
      entered.resolve();
      await open.promise;
      return { schedule: { name } };
    },
  };
  return { entered: entered.promise, open: open.resolve, schedules };
}

describe('first bytes', () => {
  test.each([
    ['at once', [GET]],
    ['byte by byte', [...GET]],
    ['P alone, as a preface begins too', ['P', 'ATCH /livez HTTP/1.1\r\nHost: x\r\n\r\n']],
    ['PR alone', ['PR', 'OPFIND /livez HTTP/1.1\r\nHost: x\r\n\r\n']],
  ])('HTTP/1.1, %s', async (_how, chunks) => {
    await using target = await startServer();
    const socket = dial(target.port);
    for (const chunk of chunks) await write(socket, chunk);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 (200|404) /);
    socket.destroy();
  });

  test.each([[1], [2], [3], [4], [5], [24]])('HTTP/2 in pieces of %i bytes', async (size) => {
    await using target = await startServer();
    const socket = dial(target.port);
    const opening = Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame(SETTINGS, 0, Buffer.alloc(0)),
      // :method GET, :scheme http, :path /livez, :authority x
      frame(HEADERS, END_STREAM | END_HEADERS, Buffer.from('\x82\x86\x04\x06/livez\x01\x01x', 'latin1'), 1),
    ]);
    let received = Buffer.alloc(0);
    const answered = new Promise<void>((resolve) => {
      socket.on('data', (data: Buffer) => {
        received = Buffer.concat([received, data]);
        // 0x88 is `:status 200`.
        if (framesOf(received).some(({ type, payload }) => type === HEADERS && payload.includes(0x88)))
          resolve();
      });
    });
    for (let at = 0; at < opening.length; at += size) await write(socket, opening.subarray(at, at + size));
    await answered;
    socket.destroy();
  });

  test('a peer that only opens a connection is dropped', async () => {
    await using target = await startServer({ limits: { headersTimeoutMs: 100 } });
    const socket = dial(target.port);
    await once(socket, 'close');
    expect(socket.bytesRead).toBe(0);
  });

  test('a peer that stops within the preface is dropped', async () => {
    await using target = await startServer({ limits: { headersTimeoutMs: 100 } });
    const socket = dial(target.port);
    socket.write('PRI');
    await once(socket, 'close');
  });

  test('resets at any moment harm nobody', async () => {
    await using target = await startServer();
    for (const bytes of [
      '',
      'P',
      'PRI ',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET /liv',
      GET,
      'garbage\r\n\r\n',
    ]) {
      const socket = dial(target.port);
      await once(socket, 'connect');
      if (bytes !== '') await write(socket, bytes);
      socket.resetAndDestroy();
    }
    expect((await fetch(`${target.url}/livez`)).status).toBe(200);
  });

  test('a peer that has finished sending is still answered', async () => {
    await using target = await startServer();
    const socket = dial(target.port);
    socket.end('GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(await text(socket)).toContain('"alive":true');
  });
});

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const END_STREAM = 0x1;
const END_HEADERS = 0x4;

interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

function frame(type: number, flags: number, payload: Buffer, stream = 0): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    frames.push({ type: bytes.readUInt8(at + 3), payload: bytes.subarray(at + 9, at + 9 + length) });
    at += 9 + length;
  }
  return frames;
}

/** What comes until the connection is closed, in order or by a reset: whoever still writes may get one. */
async function untilClosed(socket: net.Socket): Promise<string> {
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString();
  });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('close', resolve));
  return received;
}

describe('limits', () => {
  test('headers that trickle in are cut off (slowloris)', async () => {
    await using target = await startServer({ limits: { headersTimeoutMs: 200 } });
    const socket = dial(target.port);
    socket.write('GET /livez HTTP/1.1\r\n');
    const trickle = setInterval(() => socket.write('X-A: b\r\n'), 20);
    const answer = await untilClosed(socket).finally(() => clearInterval(trickle));
    expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('a body that trickles in is cut off, HTTP/1.1', async () => {
    await using target = await startServer({ limits: { headersTimeoutMs: 100, requestTimeoutMs: 200 } });
    const socket = dial(target.port);
    socket.write(
      'POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n',
    );
    const trickle = setInterval(() => socket.write(' '), 20);
    await untilClosed(socket).finally(() => clearInterval(trickle));
    const line = await target.log.find(({ msg }) => msg === 'call');
    expect(line.code).not.toBe('OK');
  });

  test('a body that trickles in is cut off, HTTP/2', async () => {
    await using target = await startServer({ limits: { headersTimeoutMs: 100, requestTimeoutMs: 200 } });
    const session = http2.connect(target.url);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/json',
    });
    stream.on('error', () => undefined);
    const trickle = setInterval(() => stream.write(' '), 20);
    await once(stream, 'close').finally(() => clearInterval(trickle));
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    expect(await target.log.find(({ msg }) => msg === 'call')).toMatchObject({ code: 'CANCELED' });
    session.destroy();
  });

  test('large headers are refused, HTTP/1.1', async () => {
    await using target = await startServer({ limits: { maxHeaderBytes: 4_096 } });
    const socket = dial(target.port);
    socket.write(`GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: ${'x'.repeat(5_000)}\r\n\r\n`);
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 431 /);
  });

  test('large headers are refused, HTTP/2', async () => {
    await using target = await startServer({ limits: { maxHeaderBytes: 4_096 } });
    const session = http2.connect(target.url);
    session.on('error', () => undefined);
    const stream = session.request({ ':path': '/livez', 'x-large': 'x'.repeat(5_000) });
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    expect(headers[':status']).toBe(431);
    session.destroy();
  });

  test('concurrent streams of one connection are bounded', async () => {
    await using target = await startServer({ limits: { maxConcurrentStreams: 7 } });
    const session = http2.connect(target.url);
    const [settings] = (await once(session, 'remoteSettings')) as [http2.Settings];
    expect(settings.maxConcurrentStreams).toBe(7);
    session.destroy();
  });

  test('connections are bounded', async () => {
    await using target = await startServer({ limits: { maxConnections: 2 } });
    const kept = [dial(target.port), dial(target.port)];
    await Promise.all(kept.map((socket) => once(socket, 'connect')));
    const refused = dial(target.port);
    await once(refused, 'close');
    await target.log.find(({ msg }) => msg === 'connection refused: maxConnections reached');
    for (const socket of kept) socket.destroy();
  });

  test('an idle HTTP/2 connection ends with GOAWAY; one with a quiet stream stays', async () => {
    const { schedules, entered, open } = gate();
    await using target = await startServer({ schedules, limits: { idleTimeoutMs: 150 } });
    const idle = http2.connect(target.url);
    const busy = createClient(ScheduleService, createGrpcTransport({ baseUrl: target.url }));
    const call = busy.getSchedule({ name: NAME });
    await entered;
    const [code] = (await once(idle, 'goaway')) as [number];
    expect(code).toBe(http2.constants.NGHTTP2_NO_ERROR);
    open();
    expect((await call).schedule?.name).toBe(NAME);
  });
});

describe('a request that the client cuts off', () => {
  const body = Buffer.concat([Buffer.from([0x0a, NAME.length]), Buffer.from(NAME)]);
  const path = '/carillon.schedule.v1.ScheduleService/GetSchedule';

  /** Counts what is executed. */
  function counting() {
    const count = { executed: 0 };
    const getSchedule = () => {
      count.executed += 1;
      return {};
    };
    return { count, schedules: { getSchedule } };
  }

  test.each([
    ['RST_STREAM(CANCEL)', frame(RST_STREAM, 0, Buffer.from([0, 0, 0, 8]), 1), 'CANCELED', 0],
    ['RST_STREAM(NO_ERROR)', frame(RST_STREAM, 0, Buffer.from([0, 0, 0, 0]), 1), 'CANCELED', 0],
    ['END_STREAM', frame(DATA, END_STREAM, Buffer.alloc(0), 1), 'OK', 1],
  ])('over HTTP/2 is executed only if it is complete: %s', async (_how, last, code, executed) => {
    const { count, schedules } = counting();
    await using target = await startServer({ schedules });
    const socket = dial(target.port);
    const literal = (index: number, value: string) => [index, value.length, ...Buffer.from(value)];
    // :method POST, :scheme http, and literals for :path, :authority and content-type (31, in two bytes)
    const head = [
      0x83,
      0x86,
      ...literal(0x04, path),
      ...literal(0x01, 'x'),
      0x0f,
      ...literal(0x10, 'application/proto'),
    ];
    await write(socket, Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
    await write(socket, frame(SETTINGS, 0, Buffer.alloc(0)));
    await write(socket, frame(HEADERS, END_HEADERS, Buffer.from(head), 1));
    await write(socket, frame(DATA, 0, body, 1));
    await write(socket, last);
    expect(await target.log.find(({ msg }) => msg === 'call')).toMatchObject({ code });
    expect(count.executed).toBe(executed);
    socket.destroy();
  });

  test('over HTTP/1.1 is not executed', async () => {
    const { count, schedules } = counting();
    await using target = await startServer({ schedules });
    const socket = dial(target.port);
    const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/proto\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await write(socket, head);
    await write(
      socket,
      Buffer.from(`${body.length.toString(16)}\r\n${body.toString('latin1')}\r\n`, 'latin1'),
    );
    socket.end();
    expect(await target.log.find(({ msg }) => msg === 'call')).toMatchObject({ code: 'CANCELED' });
    expect(count.executed).toBe(0);
  });
});

describe('close', () => {
  test.each([
    ['HTTP/1.1', (baseUrl: string) => createConnectTransport({ baseUrl, httpVersion: '1.1' as const })],
    ['HTTP/2', (baseUrl: string) => createGrpcTransport({ baseUrl })],
  ])(
    'a call in flight over %s finishes, and then the server has closed',
    async (_version, createTransport) => {
      const { schedules, entered, open } = gate();
      await using target = await startServer({ schedules });
      const client = createClient(ScheduleService, createTransport(target.url));
      const call = client.getSchedule({ name: NAME });
      await entered;
      let closed = false;
      const closing = target.server.close().then(() => {
        closed = true;
      });
      await expect(fetch(`${target.url}/livez`)).rejects.toThrow();
      expect(closed).toBe(false);
      open();
      expect((await call).schedule?.name).toBe(NAME);
      await closing;
    },
  );

  test('idle connections of every kind do not hold it up', async () => {
    await using target = await startServer();
    const agent = new http.Agent({ keepAlive: true });
    const response = await new Promise<http.IncomingMessage>((resolve) =>
      http.get(`${target.url}/livez`, { agent }, resolve),
    );
    await text(response);
    const silent = dial(target.port);
    const session = http2.connect(target.url);
    await Promise.all([once(silent, 'connect'), once(session, 'remoteSettings')]);
    const goaway = once(session, 'goaway');
    await target.server.close();
    const [code] = (await goaway) as [number];
    expect(code).toBe(http2.constants.NGHTTP2_NO_ERROR);
    agent.destroy();
    session.destroy();
  });

  test('a response in flight tells the client not to reuse the connection', async () => {
    const { schedules, entered, open } = gate();
    await using target = await startServer({ schedules });
    const call = fetch(`${target.url}/carillon.schedule.v1.ScheduleService/GetSchedule`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: NAME }),
    });
    await entered;
    const closing = target.server.close();
    open();
    expect((await call).headers.get('connection')).toBe('close');
    await closing;
  });

  test('a stream is ended with UNAVAILABLE at once, a watch of health among them', async () => {
    await using target = await startServer();
    const client = createClient(Health, createGrpcTransport({ baseUrl: target.url }));
    const statuses: number[] = [];
    let closing: Promise<void> | undefined;
    const watch = async () => {
      for await (const { status } of client.watch({})) {
        statuses.push(status);
        closing ??= target.server.close();
      }
    };
    await expect(watch()).rejects.toThrow('[unavailable] the server is shutting down');
    await closing;
  });

  test('what does not finish within drainTimeoutMs is told so and cut off', async () => {
    const { schedules, entered } = gate();
    await using target = await startServer({ schedules, limits: { drainTimeoutMs: 100 } });
    const client = createClient(ScheduleService, createGrpcTransport({ baseUrl: target.url }));
    const call = expect(client.getSchedule({ name: NAME })).rejects.toThrow(
      '[unavailable] the server is shutting down',
    );
    await entered;
    await target.server.close();
    await call;
  });

  test('a peer that does not read is destroyed in the end', async () => {
    await using target = await startServer({
      limits: { drainTimeoutMs: 100 },
      schedules: { getSchedule: () => ({ schedule: { description: 'x'.repeat(10_000_000) } }) },
    });
    const socket = dial(target.port);
    const body = JSON.stringify({ name: NAME });
    socket.write(
      `POST /carillon.schedule.v1.ScheduleService/GetSchedule HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await once(socket, 'readable');
    await target.server.close();
    expect(await target.log.find(({ msg }) => msg === 'call')).toBeDefined();
    socket.destroy();
  });
});

test('an unusable Host is answered and not left hanging', async () => {
  await using target = await startServer();
  const socket = dial(target.port);
  socket.write(
    'POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: [\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}',
  );
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
});

test('a body of 256 MiB is refused, with memory flat, and the connection goes on', async () => {
  await using target = await startServer();
  const socket = dial(target.port);
  const chunk = Buffer.alloc(1024 * 1024, 0x20);
  const before = process.memoryUsage().rss;
  let answers = '';
  socket.on('data', (data: Buffer) => {
    answers += data.toString();
  });
  socket.write(
    'POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
  );
  for (let sent = 0; sent < 256; sent++) {
    socket.write('100000\r\n');
    socket.write(chunk);
    if (!socket.write('\r\n')) await once(socket, 'drain');
  }
  const grown = process.memoryUsage().rss - before;
  socket.end('0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await once(socket, 'close');
  expect(answers).toMatch(/^HTTP\/1\.1 429 /);
  expect(answers).toContain('"alive":true');
  expect(grown).toBeLessThan(128 * 1024 * 1024);
});
