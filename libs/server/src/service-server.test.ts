import { gzipSync } from 'node:zlib';
import { notFound, unauthenticated } from '@carillon/core/domain-error.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { BadRequestSchema, ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { callOf } from './call.ts';
import { buildServer, startServer, type TestOptions } from './server-under-test.ts';

const NAME = 'projects/p/domains/d/schedules/s';

const PROTOCOLS: Readonly<Record<string, (baseUrl: string, more?: object) => Transport>> = {
  'Connect over HTTP/1.1': (baseUrl, more) =>
    createConnectTransport({ baseUrl, httpVersion: '1.1', ...more }),
  'Connect over HTTP/2': (baseUrl, more) => createConnectTransport({ baseUrl, httpVersion: '2', ...more }),
  'Connect JSON': (baseUrl, more) =>
    createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false, ...more }),
  gRPC: (baseUrl, more) => createGrpcTransport({ baseUrl, ...more }),
  'gRPC-Web over HTTP/1.1': (baseUrl, more) =>
    createGrpcWebTransport({ baseUrl, httpVersion: '1.1', ...more }),
  'gRPC-Web over HTTP/2': (baseUrl, more) => createGrpcWebTransport({ baseUrl, httpVersion: '2', ...more }),
};

const echo: TestOptions = {
  schedules: {
    getSchedule: ({ name }) => {
      if (name.endsWith('missing')) throw notFound('carillon.dev/Schedule', name);
      if (name.endsWith('bug')) throw new Error('password=hunter2');
      return { schedule: { name } };
    },
    createSchedule: ({ scheduleId, schedule }) => ({
      schedule: { name: scheduleId, description: schedule?.description ?? '' },
    }),
  },
  runs: {
    async *watchRuns() {
      yield { run: { name: 'one' } };
      yield { run: { name: 'two' } };
    },
  },
};

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError))
    throw new Error('the call did not fail with a ConnectError', { cause: error });
  return error;
}

describe.each(Object.entries(PROTOCOLS))('%s', (_name, createTransport) => {
  test('answers unary calls', async () => {
    await using target = await startServer(echo);
    const client = createClient(ScheduleService, createTransport(target.url));
    expect((await client.getSchedule({ name: NAME })).schedule?.name).toBe(NAME);
  });

  test('streams', async () => {
    await using target = await startServer(echo);
    const client = createClient(RunService, createTransport(target.url));
    const names: string[] = [];
    for await (const { run } of client.watchRuns({ parent: 'projects/p/domains/d' }))
      names.push(run?.name ?? '');
    expect(names).toEqual(['one', 'two']);
  });

  test('carries error details', async () => {
    await using target = await startServer(echo);
    const client = createClient(ScheduleService, createTransport(target.url));
    const error = await failure(client.getSchedule({ name: 'projects/p/domains/d/schedules/missing' }));
    expect(error.code).toBe(Code.NotFound);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: 'NOT_FOUND', domain: 'carillon.dev' },
    ]);
    await target.log.find((line) => line.msg === 'call' && line.code === 'NOT_FOUND');
  });

  test('hides a defect and logs it under the request id', async () => {
    await using target = await startServer(echo);
    const client = createClient(ScheduleService, createTransport(target.url));
    const error = await failure(
      client.getSchedule(
        { name: 'projects/p/domains/d/schedules/bug' },
        { headers: { 'x-request-id': 'req-7' } },
      ),
    );
    expect(error.code).toBe(Code.Internal);
    expect(error.rawMessage).toBe('internal error; request id req-7');
    const line = await target.log.find(({ level }) => level === 'error');
    expect(line).toMatchObject({ requestId: 'req-7', err: { message: 'password=hunter2' } });
    expect(JSON.stringify(line.err)).toContain('service-server.test.ts');
  });

  test('refuses a request above the limit with RESOURCE_EXHAUSTED and goes on', async () => {
    await using target = await startServer(echo);
    const client = createClient(ScheduleService, createTransport(target.url));
    const error = await failure(client.getSchedule({ name: 'x'.repeat(5_000_000) }));
    expect(error.code).toBe(Code.ResourceExhausted);
    await target.log.find((line) => line.msg === 'call' && line.code === 'RESOURCE_EXHAUSTED');
    expect((await client.getSchedule({ name: NAME })).schedule?.name).toBe(NAME);
  });

  test('refuses a bomb: small on the wire, above the limit when decompressed', async () => {
    await using target = await startServer(echo);
    const transport = createTransport(target.url, { sendCompression: compressionGzip });
    const error = await failure(
      createClient(ScheduleService, transport).getSchedule({ name: 'x'.repeat(64_000_000) }),
    );
    expect(error.code).toBe(Code.ResourceExhausted);
  });

  test('refuses an answer above the limit with RESOURCE_EXHAUSTED', async () => {
    await using target = await startServer({
      limits: { writeMaxBytes: 1_000 },
      schedules: { getSchedule: () => ({ schedule: { description: 'x'.repeat(1_001) } }) },
    });
    const client = createClient(ScheduleService, createTransport(target.url));
    expect((await failure(client.getSchedule({ name: NAME }))).code).toBe(Code.ResourceExhausted);
    await target.log.find((line) => line.msg === 'call' && line.code === 'RESOURCE_EXHAUSTED');
  });

  test('names the field that breaks its rule', async () => {
    await using target = await startServer(echo);
    const client = createClient(ScheduleService, createTransport(target.url));
    const error = await failure(
      client.createSchedule({
        parent: 'projects/p/domains/d',
        scheduleId: 's',
        schedule: { spec: { pattern: { case: 'cron', value: { expression: '' } }, run: {} } },
      }),
    );
    expect(error.code).toBe(Code.InvalidArgument);
    const [badRequest] = error.findDetails(BadRequestSchema);
    expect(badRequest?.fieldViolations).toContainEqual(
      expect.objectContaining({ field: 'schedule.spec.cron.expression', reason: 'string.min_len' }),
    );
  });

  test('tells the handler of the caller’s deadline, and keeps it', async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<unknown>();
    await using target = await startServer({
      schedules: {
        getSchedule: (_request, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => {
              resolve(signal.reason);
              reject(signal.reason);
            });
          }),
      },
    });
    const client = createClient(ScheduleService, createTransport(target.url));
    const error = await failure(client.getSchedule({ name: NAME }, { timeoutMs: 200 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    await aborted;
    const line = await target.log.find(({ msg }) => msg === 'call');
    expect(['DEADLINE_EXCEEDED', 'CANCELED']).toContain(line.code);
    expect(target.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('refuses a deadline beyond maxTimeoutMs', async () => {
    await using target = await startServer({ ...echo, limits: { maxTimeoutMs: 5_000 } });
    const client = createClient(ScheduleService, createTransport(target.url));
    const error = await failure(client.getSchedule({ name: NAME }, { timeoutMs: 6_000 }));
    expect(error.code).toBe(Code.InvalidArgument);
    await target.log.find((line) => line.msg === 'call' && line.code === 'INVALID_ARGUMENT');
  });

  test('ends a call without a deadline at the default, even if the handler never looks', async () => {
    await using target = await startServer({
      limits: { defaultTimeoutMs: 100 },
      schedules: { getSchedule: () => new Promise(() => undefined) },
    });
    const client = createClient(ScheduleService, createTransport(target.url));
    expect((await failure(client.getSchedule({ name: NAME }))).code).toBe(Code.DeadlineExceeded);
  });

  test('a caller that goes away is CANCELED and no error', async () => {
    const began = Promise.withResolvers<void>();
    await using target = await startServer({
      schedules: {
        getSchedule: (_request, { signal }) => {
          began.resolve();
          return new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason)),
          );
        },
      },
    });
    const client = createClient(ScheduleService, createTransport(target.url));
    const abort = new AbortController();
    const call = failure(client.getSchedule({ name: NAME }, { signal: abort.signal }));
    await began.promise;
    abort.abort();
    expect((await call).code).toBe(Code.Canceled);
    await target.log.find((line) => line.msg === 'call' && line.code === 'CANCELED');
    expect(target.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

async function post(
  url: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
) {
  const response = await fetch(`${url}/carillon.schedule.v1.ScheduleService/GetSchedule`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Record<string, unknown>,
  };
}

interface JsonError {
  readonly code: string;
  readonly message: string;
  readonly details: { readonly type: string; readonly debug: Record<string, unknown> }[];
}

describe('plain JSON', () => {
  test('answers, and echoes a sane request id', async () => {
    await using target = await startServer(echo);
    const { status, body, headers } = await post(target.url, JSON.stringify({ name: NAME }), {
      'x-request-id': 'abc',
    });
    expect(status).toBe(200);
    expect(body).toEqual({ schedule: { name: NAME } });
    expect(headers.get('x-request-id')).toBe('abc');
    expect(await target.log.find(({ msg }) => msg === 'call')).toMatchObject({
      requestId: 'abc',
      code: 'OK',
      procedure: '/carillon.schedule.v1.ScheduleService/GetSchedule',
      peer: '127.0.0.1',
      subject: 'anonymous',
    });
  });

  test.each(['a b', 'x'.repeat(129), '{"a":1}'])('replaces the request id %j', async (given) => {
    await using target = await startServer(echo);
    const { headers } = await post(target.url, JSON.stringify({ name: NAME }), { 'x-request-id': given });
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  });

  const malformed: [string, string, string, string][] = [
    ['an unknown field', '{"nmae": "x"}', 'nmae', 'UNKNOWN_FIELD'],
    ['an unknown nested field', '{"name": "x", "__proto__": {"a": 1}}', '__proto__', 'UNKNOWN_FIELD'],
    ['a field of another type', '{"name": 7}', 'name', 'JSON_TYPE'],
    ['a cut-off document', '{"name": "x', '', 'JSON_SYNTAX'],
    ['no document', '', '', 'JSON_SYNTAX'],
    ['an array', '[]', '', 'JSON_SYNTAX'],
    ['a key twice', '{"name": "x", "name": "y"}', '', 'JSON_SYNTAX'],
  ];
  test.each(malformed)('refuses %s with a field violation', async (_what, text, field, reason) => {
    await using target = await startServer(echo);
    const { status, body } = await post(target.url, text);
    const error = body as unknown as JsonError;
    expect(status).toBe(400);
    expect(error.code).toBe('invalid_argument');
    expect(error.message).toContain(field);
    expect(error.details.map(({ type }) => type)).toEqual(['google.rpc.ErrorInfo', 'google.rpc.BadRequest']);
    expect(error.details[0]?.debug).toEqual({ reason: 'INVALID_ARGUMENT', domain: 'carillon.dev' });
    const violations = error.details[1]?.debug.fieldViolations as { field?: string; reason: string }[];
    expect(violations).toHaveLength(1);
    expect(violations[0]?.field ?? '').toBe(field);
    expect(violations[0]?.reason).toBe(reason);
    await target.log.find((line) => line.msg === 'call' && line.code === 'INVALID_ARGUMENT');
  });

  test('keeps a long key out of the answer and payloads out of the log', async () => {
    await using target = await startServer(echo);
    const { body } = await post(target.url, JSON.stringify({ [`secret-${'k'.repeat(100_000)}`]: 1 }));
    expect(JSON.stringify(body).length).toBeLessThan(4_096);
    await target.log.find(({ msg }) => msg === 'call');
    expect(JSON.stringify(target.log.lines)).not.toContain('secret-');
  });

  test('refuses a gzip bomb', async () => {
    await using target = await startServer(echo);
    const { status, body } = await post(target.url, gzipSync(Buffer.alloc(64_000_000, 0x20)), {
      'content-encoding': 'gzip',
    });
    expect(status).toBe(429);
    expect(body.code).toBe('resource_exhausted');
  });

  test.each([
    ['a content type that is no RPC', { 'content-type': 'text/plain' }, 415],
    ['an unknown compression', { 'content-encoding': 'zstd' }, 501],
  ])('refuses %s', async (_what, headers, expected) => {
    await using target = await startServer(echo);
    const response = await fetch(`${target.url}/carillon.schedule.v1.ScheduleService/GetSchedule`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: '{}',
    });
    expect(response.status).toBe(expected);
    await target.log.find(({ msg }) => msg === 'call');
  });
});

test('a binary request with unknown fields is accepted: it comes from a newer client', async () => {
  await using target = await startServer(echo);
  const name = Buffer.from(NAME);
  const unknown = [0xfa, 0x3f, 0x01, 0x21]; // field 1023, one byte
  const response = await fetch(`${target.url}/carillon.schedule.v1.ScheduleService/GetSchedule`, {
    method: 'POST',
    headers: { 'content-type': 'application/proto' },
    body: Buffer.concat([Buffer.from([0x0a, name.length]), name, Buffer.from(unknown)]),
  });
  expect(response.status).toBe(200);
});

describe('what is not served', () => {
  test('is UNIMPLEMENTED to gRPC and 404 to HTTP', async () => {
    await using target = await startServer();
    const url = `${target.url}/carillon.schedule.v1.ScheduleService/Nothing`;
    const grpc = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/grpc+proto' } });
    expect([grpc.status, grpc.headers.get('grpc-status')]).toEqual([200, '12']);
    const json = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(json.status).toBe(404);
  });

  test('a method without a handler is UNIMPLEMENTED', async () => {
    await using target = await startServer();
    const client = createClient(ScheduleService, createGrpcTransport({ baseUrl: target.url }));
    expect((await failure(client.getSchedule({ name: NAME }))).code).toBe(Code.Unimplemented);
  });
});

describe('metrics', () => {
  test('count every call by service, method and code, and show the event loop', async () => {
    await using target = await startServer(echo);
    await post(target.url, JSON.stringify({ name: NAME }));
    await post(target.url, '{"nmae": 1}');
    await target.log.find((line) => line.code === 'INVALID_ARGUMENT');
    const response = await fetch(`${target.url}/metrics`);
    const text = await response.text();
    const of = (code: string) =>
      `{service="carillon.schedule.v1.ScheduleService",method="GetSchedule",code="${code}"}`;
    expect(text).toContain(`carillon_rpc_server_handled_total${of('OK')} 1\n`);
    expect(text).toContain(`carillon_rpc_server_handled_total${of('INVALID_ARGUMENT')} 1\n`);
    expect(text).toContain(`carillon_rpc_server_duration_seconds_count${of('OK')} 1\n`);
    expect(text).toContain(
      'carillon_rpc_server_in_flight{service="carillon.schedule.v1.ScheduleService",method="GetSchedule"} 0\n',
    );
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
    expect(text).toMatch(/^carillon_server_connections [1-9]/m);
    expect(text).toMatch(/^carillon_build_info\{service="[^"]+",version="[^"]+"\} 1$/m);
    expect(text).toMatch(/^carillon_time_zone_database_info\{version="20\d\d[a-z]"\} 1$/m);
  });
});

describe('probes', () => {
  test('liveness does not care for readiness, which says what fails', async () => {
    let database: Error | undefined = new Error('no answer');
    await using target = await startServer({
      readiness: {
        database: () => {
          if (database !== undefined) throw database;
        },
        feed: () => undefined,
      },
    });
    const ready = async () => {
      const response = await fetch(`${target.url}/readyz`);
      return [response.status, await response.json()];
    };
    expect(await ready()).toEqual([
      503,
      { ready: false, failing: [{ name: 'database', reason: 'no answer' }] },
    ]);
    expect((await fetch(`${target.url}/livez`)).status).toBe(200);
    database = undefined;
    expect(await ready()).toEqual([200, { ready: true, failing: [] }]);
    target.server.readiness.drain();
    expect((await ready())[0]).toBe(503);
    expect(await (await fetch(`${target.url}/livez`)).json()).toEqual({
      alive: true,
      name: 'test',
      version: '0.0.0',
    });
  });
});

describe('authentication', () => {
  test('runs before the body is read, and its principal reaches handlers and log', async () => {
    await using target = await startServer({
      authenticate: ({ header, procedure }) => ({ subject: `${header.get('x-user')}@${procedure}` }),
      schedules: {
        getSchedule: (_request, context) => ({ schedule: { name: callOf(context).principal.subject } }),
      },
    });
    const { body } = await post(target.url, JSON.stringify({ name: NAME }), { 'x-user': 'ada' });
    const subject = 'ada@/carillon.schedule.v1.ScheduleService/GetSchedule';
    expect(body).toEqual({ schedule: { name: subject } });
    expect(await target.log.find(({ msg }) => msg === 'call')).toMatchObject({ subject });
  });

  test('a refusal is mapped like any other, and spares health', async () => {
    await using target = await startServer({
      authenticate: () => {
        throw unauthenticated('NO_CREDENTIALS', 'credentials are missing');
      },
    });
    const { status, body } = await post(target.url, 'not even JSON');
    expect([status, body.code, body.message]).toEqual([401, 'unauthenticated', 'credentials are missing']);
    expect(await target.log.find(({ msg }) => msg === 'call')).toMatchObject({
      code: 'UNAUTHENTICATED',
      reason: 'NO_CREDENTIALS',
    });
    const health = await fetch(`${target.url}/grpc.health.v1.Health/Check`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(await health.json()).toEqual({ status: 'SERVING' });
  });
});

test('a port beyond loopback without authentication is warned of', async () => {
  const { server, log } = buildServer();
  // A documentation address, which no machine has: nothing is opened.
  await expect(server.listen({ host: '203.0.113.1', port: 0 })).rejects.toMatchObject({
    code: 'EADDRNOTAVAIL',
  });
  expect(log.lines).toMatchObject([{ level: 'warn', host: '203.0.113.1' }]);
  await server.close();
});

test('a taken port is an error of listen', async () => {
  await using first = await startServer();
  await expect(startServer({}, first.port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
