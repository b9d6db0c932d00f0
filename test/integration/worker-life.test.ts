import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Run, RunPhase } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type App, createApp } from '@carillon/runs';
import { createLogger, Secret } from '@carillon/server';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { CHECKOUT } from '../support/dev-stack.ts';
import { useDatabase } from '../support/postgres.ts';

// The example worker as a process of its own, against a runs service with short leases.

const LEASE_TTL_MS = 1_500;

const database = useDatabase();
const processes: ChildProcess[] = [];
let app: App;
let runs: Client<typeof RunService>;
let folder: string;
let queues = 0;
let queue: string;

beforeAll(async () => {
  app = await createApp(
    {
      databaseUrl: new Secret(database.url),
      host: '127.0.0.1',
      port: 0,
      logLevel: 'error',
      databaseConnections: 5,
      migrate: '0',
      retentionDays: 90,
      leaseTtlMs: LEASE_TTL_MS,
      instance: 'runs-1',
    },
    { logger: createLogger({ service: 'runs', instance: 'runs-1', level: 'fatal' }) },
  );
  await app.ready;
  runs = createClient(RunService, createConnectTransport({ baseUrl: app.url, httpVersion: '1.1' }));
});
afterAll(async () => {
  await app.close(AbortSignal.abort());
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-worker-life-'));
  queue = `q${++queues}`;
});
afterEach(async () => {
  for (const child of processes.splice(0)) child.kill('SIGKILL');
  for (const file of ['1', '2']) {
    // A worker that is killed cannot end what it has started.
    const pid = Number(await readFile(join(folder, file), 'utf8').catch(() => '0'));
    if (pid > 0 && isAlive(pid)) process.kill(pid, 'SIGKILL');
  }
  await rm(folder, { recursive: true });
});

/** Starts a worker, and resolves when it works. */
async function startWorker(instance: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(CHECKOUT, 'apps/worker/src/main.ts')], {
    env: {
      PATH: process.env.PATH,
      CARILLON_RUNS_URL: app.url,
      CARILLON_QUEUES: queue,
      CARILLON_SLOTS: '1',
      CARILLON_INSTANCE: instance,
      CARILLON_ALLOWED_COMMANDS: process.execPath,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  processes.push(child);
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) if ((JSON.parse(line) as { msg: string }).msg === 'working') break;
  child.stdout.resume();
  return child;
}

/** Creates a run of a script, which finds the folder in `folder` and notes its process id in a file named after the attempt. */
async function createRun(script: string): Promise<string> {
  const note = `require('node:fs').writeFileSync(${JSON.stringify(folder)} + '/' + process.env.CARILLON_ATTEMPT, String(process.pid));`;
  const { run } = await runs.createRun({
    parent: 'projects/p/domains/d',
    spec: {
      task: 'command',
      queue,
      inputs: { content: { case: 'values', value: { command: [process.execPath, '-e', note + script] } } },
      retry: { maxAttempts: 2, initialBackoff: durationFromMs(1), maxBackoff: durationFromMs(1) },
    },
  });
  return run?.name ?? '';
}

/** Waits until the run is in a phase. */
async function becomes(name: string, phase: RunPhase): Promise<Run> {
  const end = new AbortController();
  const parent = 'projects/p/domains/d';
  try {
    for await (const { run } of runs.watchRuns({ parent, names: [name] }, { signal: end.signal })) {
      if (run?.phase === phase) break;
    }
  } finally {
    end.abort();
  }
  const { run } = await runs.getRun({ name });
  if (run === undefined) throw new Error(`${name} is gone`);
  return run;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function started(attempt: number): Promise<number> {
  const read = () => readFile(join(folder, String(attempt)), 'utf8').catch(() => '');
  await expect.poll(read, { timeout: 10_000 }).not.toBe('');
  return Number(await read());
}

test('a run of a worker that was killed is tried again by another one', async () => {
  const first = await startWorker('first');
  const name = await createRun(
    "if (process.env.CARILLON_ATTEMPT === '1') setTimeout(() => {}, 60_000); else console.log('second');",
  );
  await started(1);
  expect(await becomes(name, RunPhase.RUNNING)).toMatchObject({ worker: 'first', attempt: 1 });
  first.kill('SIGKILL');
  await startWorker('second');
  expect(await becomes(name, RunPhase.SUCCEEDED)).toMatchObject({
    worker: 'second',
    attempt: 2,
    output: { content: { value: { exitStatus: 0, output: 'second\n' } } },
  });
});

test('a worker that is asked to end finishes its run first, and takes no other', async () => {
  const worker = await startWorker('ending');
  const name = await createRun("setTimeout(() => console.log('done'), 1_000);");
  await started(1);
  worker.kill('SIGTERM');
  const next = await createRun('');
  expect(await once(worker, 'exit')).toEqual([0, null]);
  expect(await becomes(name, RunPhase.SUCCEEDED)).toMatchObject({ attempt: 1 });
  expect((await runs.getRun({ name: next })).run).toMatchObject({ phase: RunPhase.QUEUED, attempt: 0 });
});

test('an abort ends the command of a run, within a heartbeat or so', async () => {
  await startWorker('asked');
  const name = await createRun('setTimeout(() => {}, 60_000);');
  const pid = await started(1);
  await runs.abortRun({ name, reason: 'not today' });
  const run = await becomes(name, RunPhase.ABORTED);
  expect(run.error).toMatchObject({ code: 'ABORTED' });
  expect(run.error?.message).toMatch(/^not today; .* was ended by SIGTERM$/);
  expect(run.output?.content.value).toMatchObject({ signal: 'SIGTERM' });
  expect(isAlive(pid)).toBe(false);
});
