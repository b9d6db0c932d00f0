import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { SchemaIncompatibleError } from '@carillon/db';
import { useDatabase } from '@carillon/db/test/database.ts';
import { createLogger, Secret } from '@carillon/server';
import { Code } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { createApp } from './app.ts';
import { readRunsConfig } from './config.ts';
import { adHoc, configOf, refusal, startRuns } from './service-under-test.ts';

const database = useDatabase();
const empty = useDatabase({ empty: true });
const logger = createLogger({ service: 'runs', instance: 'test-1', level: 'silent' });

describe('the service', () => {
  test('is alive and not ready while its database cannot be reached, and ends in order all the same', async () => {
    const app = await createApp(configOf('postgres://nobody:x@127.0.0.1:9/none'), { logger });
    const status = async (path: string) => (await fetch(app.url + path)).status;
    expect([await status('/livez'), await status('/readyz')]).toEqual([200, 503]);
    const ready = app.ready.catch((error: unknown) => String(error));
    await app.close(AbortSignal.abort());
    expect(await ready).toContain('closed');
  });

  test('refuses a database without its schema, unless it may migrate', async () => {
    const refusing = await createApp(configOf(empty.url), { logger });
    await expect(refusing.ready).rejects.toThrow(SchemaIncompatibleError);
    await refusing.close(AbortSignal.abort());
    await using migrating = await startRuns(empty, { migrate: '1' });
    expect((await fetch(`${migrating.url}/readyz`)).status).toBe(200);
    await migrating.runs.createRun(adHoc());
  });

  test('answers long polls early when it closes', async () => {
    const service = await startRuns(database);
    const poll = service.workers.leaseRuns({ worker: 'w', queues: ['none'], wait: { seconds: 50n } });
    // The poll has arrived when another call on the same server was answered.
    await service.workers.registerWorker({ worker: 'w' });
    const started = performance.now();
    await service.app.close();
    const outcome = await poll.catch((error: unknown) => error);
    if (outcome instanceof Error) expect((await refusal(poll)).code).toBe(Code.Unavailable);
    else expect(outcome).toMatchObject({ leases: [] });
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  test('gives its connections back when its port is taken', async () => {
    await using first = await startRuns(database);
    const port = Number(new URL(first.url).port);
    await expect(createApp(configOf(database.url, { port }), { logger })).rejects.toThrow('EADDRINUSE');
  });

  test('tells every fault of its configuration at once, and no secret', () => {
    const read = () => readRunsConfig({ CARILLON_PORT: 'x', CARILLON_RUN_RETENTION_DAYS: '1' }, 'test-1');
    expect(read).toThrow(/DATABASE_URL[\s\S]*CARILLON_PORT[\s\S]*CARILLON_RUN_RETENTION_DAYS/);
    const config = readRunsConfig({ DATABASE_URL: 'postgres://u:hidden@h/d' }, 'test-1');
    expect(JSON.stringify({ ...config, secret: new Secret('hidden') })).not.toContain('hidden');
    expect(config).toMatchObject({ port: 7703, retentionDays: 90, leaseTtlMs: 30_000, instance: 'test-1' });
  });
});

describe('the process', () => {
  const main = new URL('./main.ts', import.meta.url).pathname;

  test('says where it listens, and ends with 0 at SIGTERM', async () => {
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

  test('ends with 1 when its configuration is not usable', async () => {
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
