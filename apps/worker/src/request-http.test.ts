import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '@carillon/server';
import { StopError } from '@carillon/worker';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { requestHttp } from './request-http.ts';
import { attemptOf, failureOf, outputOf, valuesOf } from './run-under-test.ts';

const handler = requestHttp({ clock: systemClock });

interface Seen {
  readonly method: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

let server: Server;
let origin: string;
let seen: Seen[];

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    seen.push({ method: request.method, headers: request.headers, body: Buffer.concat(chunks).toString() });
    const [, what, status = '200'] = (request.url ?? '').split('/');
    if (what === 'silent') return;
    if (what === 'moved') {
      response.writeHead(302, { location: '/status/200' }).end();
      return;
    }
    response.statusCode = Number(status);
    response.end(what === 'large' ? 'x'.repeat(Number(request.headers['x-size'])) : 'hello');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  seen = [];
});

describe('the task http.request', () => {
  test('keeps the status and the body', async () => {
    expect(await outputOf(handler, { url: `${origin}/status/204`, slot: 'x' })).toEqual({
      status: 204,
      body: '',
      omittedBytes: 0,
    });
    expect(await outputOf(handler, { url: `${origin}/moved` })).toMatchObject({ status: 200, body: 'hello' });
    expect(seen[0]?.headers['idempotency-key']).toBe('projects/p/domains/d/runs/r');
  });

  test('sends method, headers and body', async () => {
    await outputOf(handler, { url: origin, method: 'POST', headers: { 'X-Team': 'data' }, body: { a: [1] } });
    await outputOf(handler, {
      url: origin,
      method: 'PUT',
      body: 'text',
      headers: { 'Content-Type': 'text/plain' },
    });
    expect(seen).toMatchObject([
      {
        method: 'POST',
        body: '{"a":[1]}',
        headers: { 'x-team': 'data', 'content-type': 'application/json' },
      },
      { method: 'PUT', body: 'text', headers: { 'content-type': 'text/plain' } },
    ]);
  });

  test.each([
    [500, undefined, { code: 'HTTP_STATUS', permanent: false }],
    [429, undefined, { code: 'HTTP_STATUS', permanent: false }],
    [404, undefined, { code: 'HTTP_STATUS', permanent: true }],
    [200, 201, { code: 'HTTP_STATUS', permanent: false }],
    [404, 404, undefined],
    [409, [200, 409], undefined],
  ])('that is answered with %i while %o is expected', async (status, expectedStatus, failure) => {
    const values = {
      url: `${origin}/status/${status}`,
      ...(expectedStatus === undefined ? {} : { expectedStatus }),
    };
    if (failure === undefined) expect(await outputOf(handler, values)).toMatchObject({ status });
    else {
      const error = await failureOf(handler(attemptOf(values)));
      expect(error).toMatchObject(failure);
      expect(valuesOf(error)).toEqual({ status, body: 'hello', omittedBytes: 0 });
    }
  });

  test('keeps the last 8 KiB of a large answer, and refuses a huge one', async () => {
    const sized = (bytes: number) => ({ url: `${origin}/large`, headers: { 'x-size': String(bytes) } });
    const output = await outputOf(handler, sized(100_000));
    expect([String(output.body).length, output.omittedBytes]).toEqual([8_192, 100_000 - 8_192]);
    const huge = await failureOf(handler(attemptOf(sized(9 * 1024 * 1024))));
    expect(huge).toMatchObject({ code: 'ANSWER_TOO_LARGE', permanent: true });
  });

  test('gives up after its time, and at once when the attempt shall end', async () => {
    const late = await failureOf(handler(attemptOf({ url: `${origin}/silent`, timeoutSeconds: 0.1 })));
    expect(late.code).toBe('HTTP_TIMEOUT');
    const stop = new AbortController();
    const running = handler(attemptOf({ url: `${origin}/silent` }, stop.signal));
    await expect.poll(() => seen.length).toBe(2);
    stop.abort(new StopError('ABORTED'));
    await expect(running).rejects.toBeInstanceOf(StopError);
  });

  test('tells why nobody answered', async () => {
    const failure = await failureOf(handler(attemptOf({ url: 'http://127.0.0.1:9/' })));
    expect(failure).toMatchObject({ code: 'UNREACHABLE', permanent: false });
  });

  test.each([
    {},
    { url: '/path' },
    { url: 'file:///etc/passwd' },
    { url: 'http://user:secret@localhost/' },
    { url: 'http://localhost/', method: 'get' },
    { url: 'http://localhost/', body: 'x' },
    { url: 'http://localhost/', headers: { 'a b': 'c' } },
    { url: 'http://localhost/', headers: { a: 'b\nc' } },
    { url: 'http://localhost/', headers: ['a'] },
    { url: 'http://localhost/', expectedStatus: '200' },
    { url: 'http://localhost/', expectedStatus: 99 },
    { url: 'http://localhost/', timeoutSeconds: 0 },
    { url: 'http://localhost/', timeoutSeconds: 61 },
  ])('refuses %o for good', async (values) => {
    const failure = await failureOf(handler(attemptOf(values)));
    expect(failure).toMatchObject({ code: 'INVALID_INPUT', permanent: true });
    expect(failure.message).not.toContain('secret');
  });
});
