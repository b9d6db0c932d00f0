import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectSocket, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { SchemaIncompatibleError } from '@carillon/db';
import { useDatabase } from '@carillon/db/test/database.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createLogger, Secret } from '@carillon/server';
import { Code, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { describe, expect, it } from 'vitest';
import { createApp } from './app.ts';
import { readSchedulesConfig } from './config.ts';
import { PARENT, refusal } from './service-under-test.ts';

const database = useDatabase();
const empty = useDatabase({ empty: true });
const logger = createLogger({ service: 'schedules', instance: 'test-1', level: 'silent' });

function configOf(databaseUrl: string, more: Record<string, string> = {}) {
  return readSchedulesConfig({ DATABASE_URL: databaseUrl, CARILLON_PORT: '0', ...more }, 'test-1');
}

/** Stands before the database, and lets nobody through until it is told to. */
class Gate implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: URL;
  #open = false;

  constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the gate has no port');
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${address.port}`;
    return url.toString();
  }

  open(): void {
    this.#open = true;
  }

  shut(): void {
    this.#open = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (!this.#open) {
      socket.destroy();
      return;
    }
    const through = connectSocket(Number(this.#target.port), this.#target.hostname);
    for (const end of [socket, through]) this.#sockets.add(end);
    through.on('error', () => socket.destroy());
    through.on('close', () => socket.destroy());
    socket.on('close', () => through.destroy());
    socket.pipe(through).pipe(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.shut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

describe('the service', () => {
  it('is alive and not ready until its database is there, and again whenever it is away', async () => {
    await using gate = new Gate(database.url);
    const app = await createApp(configOf(await gate.listen()), { logger });
    try {
      const client = createClient(
        ScheduleService,
        createConnectTransport({ baseUrl: app.url, httpVersion: '1.1' }),
      );
      const name = `${PARENT}/schedules/none`;
      const status = async (path: string) => (await fetch(app.url + path)).status;
      expect([await status('/livez'), await status('/readyz')]).toEqual([200, 503]);
      expect((await refusal(client.getSchedule({ name }))).code).toBe(Code.Unavailable);
      gate.open();
      await app.ready;
      expect([await status('/livez'), await status('/readyz')]).toEqual([200, 200]);
      expect((await refusal(client.getSchedule({ name }))).code).toBe(Code.NotFound);
      gate.shut();
      expect((await refusal(client.getSchedule({ name }))).code).toBe(Code.Unavailable);
      expect([await status('/livez'), await status('/readyz')]).toEqual([200, 503]);
      gate.open();
      expect((await refusal(client.getSchedule({ name }))).code).toBe(Code.NotFound);
    } finally {
      await app.close(AbortSignal.abort());
    }
  });

  it('refuses a database without its schema, unless it may migrate', async () => {
    const refusing = await createApp(configOf(empty.url), { logger });
    await expect(refusing.ready).rejects.toThrow(SchemaIncompatibleError);
    await refusing.close(AbortSignal.abort());
    const migrating = await createApp(configOf(empty.url, { CARILLON_MIGRATE: '1' }), { logger });
    await migrating.ready;
    await migrating.close(AbortSignal.abort());
  });

  it('gives its connections back when its port is taken', async () => {
    const first = await createApp(configOf(database.url), { logger });
    const port = new URL(first.url).port;
    await expect(createApp(configOf(database.url, { CARILLON_PORT: port }), { logger })).rejects.toThrow(
      'EADDRINUSE',
    );
    await first.close(AbortSignal.abort());
  });

  it('tells every fault of its configuration at once, and no secret', () => {
    const read = () => readSchedulesConfig({ CARILLON_PORT: 'x', CARILLON_MIGRATE: 'yes' }, 'test-1');
    expect(read).toThrow(/DATABASE_URL[\s\S]*CARILLON_PORT[\s\S]*CARILLON_MIGRATE/);
    expect(
      JSON.stringify({ ...configOf('postgres://u:hidden@h/d'), secret: new Secret('hidden') }),
    ).not.toContain('hidden');
  });
});

describe('the process', () => {
  const main = new URL('./main.ts', import.meta.url).pathname;

  it('says where it listens, and ends with 0 at SIGTERM', async () => {
    const child = spawn(process.execPath, [main], {
      env: { ...process.env, DATABASE_URL: database.url, CARILLON_PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    for await (const line of createInterface({ input: child.stdout })) {
      const { msg, url } = JSON.parse(line) as { msg: string; url?: string };
      if (msg !== 'listening') continue;
      expect((await fetch(`${url}/livez`)).status).toBe(200);
      child.kill('SIGTERM');
    }
    expect(await exited).toEqual([0, null]);
  });

  it('ends with 1 when its configuration is not usable', async () => {
    const child = spawn(process.execPath, [main], {
      env: { PATH: process.env.PATH },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    expect((await once(child, 'exit'))[0]).toBe(1);
    expect(output).toContain('DATABASE_URL is required');
  });
});
