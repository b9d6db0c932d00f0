import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { removeAbandonedServers } from './abandoned.ts';
import { installedRelease, runnableBinaries } from './binaries.ts';
import {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from './embedded-postgres.ts';
import { isAlive } from './postmaster.ts';
import { isRoot, unprivilegedUser } from './run-as.ts';
import { systemClock } from './test/system-clock.ts';

const undo: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** A folder that everybody can enter, removed after the test. */
function makeFolder(mode = 0o755): string {
  const dir = mkdtempSync(join(tmpdir(), 'carillon-pg-'));
  chmodSync(dir, mode);
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function start(
  dataDir: string,
  more: Partial<EmbeddedPostgresOptions> = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({
    dataDir,
    durable: false,
    clock: systemClock,
    log: () => undefined,
    ...more,
  });
  undo.push(() => server.stop());
  return server;
}

interface Launched {
  readonly child: ChildProcess;
  readonly url?: string;
  readonly pid?: number;
  readonly error?: string;
}

/** Starts a server from a process of its own. */
function launch(dataDir: string, options: SpawnOptions = {}): Promise<Launched> {
  const script = fileURLToPath(new URL('test/launcher.ts', import.meta.url));
  const child = spawn(process.execPath, [script, dataDir], {
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  undo.push(() => void child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    if (!child.stdout) return reject(new Error('no standard output'));
    child.on('exit', (code) => reject(new Error(`the launcher ended with ${code}`)));
    createInterface(child.stdout).on('line', (line) => resolve({ child, ...JSON.parse(line) }));
  });
}

function killed(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.on('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

describe('a first start', () => {
  test('gives a PostgreSQL 18 on the loopback, in UTF-8 and UTC, that asks for its password', async () => {
    const server = await start(join(makeFolder(), 'a folder', 'postgres'), { durable: true });
    const [row] = await query(
      server.url,
      `SELECT current_setting('server_version_num')::int / 10000 AS major, current_setting('timezone') AS zone,
              current_setting('listen_addresses') AS listens, current_setting('fsync') AS fsync,
              current_setting('synchronous_commit') AS commit, current_setting('max_connections') AS connections,
              (SELECT datlocale || ' ' || pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'carillon') AS locale`,
    );
    expect(row).toEqual({
      major: 18,
      zone: 'UTC',
      listens: '127.0.0.1',
      fsync: 'on',
      commit: 'on',
      connections: '200',
      locale: 'C.UTF-8 UTF8',
    });
    const wrong = server.url.replace(/:[^:@]+@/, ':wrong@');
    await expect(query(wrong, 'SELECT')).rejects.toMatchObject({ code: '28P01' });
    expect(statSync(join(server.dataDir, 'password')).mode & 0o777).toBe(0o600);
  });

  test('without durability still confirms commits, but does not force them to disk', async () => {
    const server = await start(join(makeFolder(), 'postgres'), { settings: { work_mem: '5MB' } });
    const [row] = await query(
      server.url,
      `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
              current_setting('work_mem') AS work_mem`,
    );
    expect(row).toEqual({ fsync: 'off', commit: 'on', work_mem: '5MB' });
  });

  test('takes another port when the preferred one is taken', async () => {
    const taken = createServer();
    const port = await new Promise<number>((resolve) => {
      taken.listen(0, '127.0.0.1', () => {
        const address = taken.address();
        resolve(typeof address === 'object' && address ? address.port : 0);
      });
    });
    undo.push(() => void taken.close());
    const lines: string[] = [];
    const server = await start(join(makeFolder(), 'postgres'), {
      port,
      log: (line) => void lines.push(line),
    });
    expect(server.port).not.toBe(port);
    expect(lines).toEqual([`port ${port} is taken, using ${server.port}`]);
    await query(server.url, 'SELECT');
  });

  test('says what the server said when it does not come up', async () => {
    const starting = start(join(makeFolder(), 'postgres'), { settings: { shared_buffers: 'plenty' } });
    await expect(starting).rejects.toThrow(
      /exited with code 1[\s\S]*invalid value for parameter "shared_buffers"/,
    );
  });

  test('by two at once makes one cluster, and the slower is told who has it', async () => {
    const dir = join(makeFolder(), 'postgres');
    const both = await Promise.all([launch(dir), launch(dir)]);
    expect(both.map((one) => one.error ?? 'started').sort()).toEqual(['PostgresInUseError', 'started']);
    const winner = both.find((one) => one.url !== undefined);
    await query(winner?.url ?? '', 'SELECT');
    await killed(winner?.child as ChildProcess);
    await start(dir);
  });
});

test('a folder that holds other things is left alone', async () => {
  const dir = makeFolder();
  writeFileSync(join(dir, 'thesis.txt'), '');
  await expect(start(dir)).rejects.toThrow('holds other things');
  expect(readdirSync(dir)).toEqual(['thesis.txt']);
});

describe('a later start', () => {
  test('finds the data of the one before, which ended within its limits', async () => {
    const dir = join(makeFolder(), 'postgres');
    const first = await start(dir);
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();
    await first.stop();
    expect(await first.exited).toEqual({ code: 0, signal: null });
    const second = await start(dir);
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  test('stops the orphan of a killed launcher and keeps what it had committed', async () => {
    const dir = join(makeFolder(), 'postgres');
    const { child, url = '', pid = 0 } = await launch(dir);
    await query(url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await killed(child);
    expect(isAlive(pid)).toBe(true);

    const lines: string[] = [];
    const second = await start(dir, { log: (line) => void lines.push(line) });
    expect(lines).toEqual([`stopping PostgreSQL (process ${pid}) that an earlier start left running`]);
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  test('waits for what a killed server leaves dying, and recovers', async () => {
    const dir = join(makeFolder(), 'postgres');
    const { child, url = '', pid = 0 } = await launch(dir);
    await query(url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    const busy = new pg.Client({ connectionString: url });
    busy.on('error', () => undefined);
    await busy.connect();
    // Computing, it notices the end of its server only when it is done: until then it holds the shared memory.
    const cut = Promise.allSettled([busy.query('SELECT count(*) FROM generate_series(1, 8000000)')]);
    process.kill(pid, 'SIGKILL');
    await killed(child);

    const second = await start(dir);
    await cut;
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
  });

  test('refuses a cluster whose launcher lives', async () => {
    const dir = join(makeFolder(), 'postgres');
    const { child, url = '' } = await launch(dir);
    await expect(start(dir)).rejects.toMatchObject({ name: 'PostgresInUseError', launcherPid: child.pid });
    await query(url, 'SELECT');
    await killed(child);
    await start(dir);
  });

  test.each([
    ["names a stranger's process", `${process.pid}\n/elsewhere\n`],
    ['is empty after a crash', ''],
  ])('gets past a lock that %s', async (_, content) => {
    const dir = join(makeFolder(), 'postgres');
    await (await start(dir)).stop();
    writeFileSync(join(dir, 'data', 'postmaster.pid'), content);
    const server = await start(dir);
    await query(server.url, 'SELECT');
  });

  test('does not take an initdb that was cut off for a cluster', async () => {
    const parent = makeFolder();
    const remains = join(parent, 'postgres-999999999');
    mkdirSync(join(remains, 'data'), { recursive: true });
    await start(join(parent, 'postgres'));
    expect(existsSync(remains)).toBe(false);
  });
});

test('servers whose launchers were killed are removed, those of living ones are not', async () => {
  const parent = makeFolder();
  const dead = await launchNamed(parent);
  const living = await launchNamed(parent, '-unit');
  await killed(dead.child);
  await removeAbandonedServers(parent, 'throw-away-', { clock: systemClock, log: () => undefined });
  expect(existsSync(dead.dir)).toBe(false);
  expect(isRunning(dead.pid ?? 0)).toBe(false);
  await query(living.url ?? '', 'SELECT');
  await killed(living.child);
  await removeAbandonedServers(parent, 'throw-away-', { clock: systemClock, log: () => undefined });
  expect(existsSync(living.dir)).toBe(false);
});

/** Launches a server in a folder that bears its launcher's process id. */
async function launchNamed(parent: string, suffix = ''): Promise<Launched & { readonly dir: string }> {
  const script = fileURLToPath(new URL('test/launcher.ts', import.meta.url));
  // The shell's process id stays the launcher's.
  const command = `exec "$0" "$1" "$2$$${suffix}"`;
  const child = spawn('/bin/sh', ['-c', command, process.execPath, script, join(parent, 'throw-away-')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  undo.push(() => void child.kill('SIGKILL'));
  const line = await new Promise<string>((resolve) => createInterface(child.stdout).on('line', resolve));
  return { child, dir: join(parent, `throw-away-${child.pid}${suffix}`), ...JSON.parse(line) };
}

/** Whether a process runs; an orphan that nobody has reaped does not. */
function isRunning(pid: number): boolean {
  try {
    return !/^Z/.test(execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).trim());
  } catch {
    return false;
  }
}

describe.runIf(isRoot())('as root', () => {
  test('the server is not root', async () => {
    const server = await start(join(makeFolder(), 'postgres'));
    const [row] = await query(server.url, `SELECT pg_read_file('/proc/self/status') AS status`);
    expect(/^Uid:\s+(\d+)/m.exec(String(row?.status))?.[1]).toBe(String(unprivilegedUser().identity?.uid));
    expect(/^Groups:(.*)$/m.exec(String(row?.status))?.[1]?.trim()).toBe('');
  });

  test('in a folder that only root can enter the data goes to a lasting one, the same at every start', async () => {
    const dir = join(makeFolder(0o700), 'checkout', 'postgres');
    const first = await start(dir);
    undo.push(() => rmSync(first.dataDir, { recursive: true, force: true }));
    expect(first.dataDir).not.toContain(tmpdir());
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
    await first.stop();
    const second = await start(dir);
    expect(second.dataDir).toBe(first.dataDir);
    expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    await second.stop();
  });

  test('binaries that only root can reach are copied to where everybody can', async () => {
    const release = await installedRelease();
    const hidden = join(makeFolder(0o700), 'native');
    execFileSync('cp', ['-a', release.native, hidden]);
    const lines: string[] = [];
    const log = (line: string): void => void lines.push(line);
    const version = `test-${process.pid}`;
    const copy = await runnableBinaries({ native: hidden, version }, unprivilegedUser(), log);
    undo.push(() => rmSync(dirname(dirname(copy.postgres)), { recursive: true, force: true }));
    expect(copy.postgres).not.toContain(hidden);
    expect(await runnableBinaries({ native: hidden, version }, unprivilegedUser(), log)).toEqual(copy);
    expect(lines).toHaveLength(1);
  });

  test.runIf(everybodyReaches(process.execPath))(
    'an ordinary user is served too, and root opens that data',
    async () => {
      const parent = makeFolder();
      const { uid, gid } = unprivilegedUser().identity ?? { uid: 0, gid: 0 };
      execFileSync('chown', [`${uid}:${gid}`, parent]);
      const dir = join(parent, 'postgres');
      const { child, url = '' } = await launch(dir, { uid, gid, cwd: '/' });
      await query(url, 'CREATE TABLE kept AS SELECT 42 AS answer');
      const ended = new Promise((resolve) => child.on('exit', resolve));
      child.kill('SIGTERM');
      await ended;
      const server = await start(dir);
      expect(await query(server.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
    },
  );
});

/** Whether the folders above a file let everybody through: a checkout below a home folder of root may not. */
function everybodyReaches(file: string): boolean {
  accessSync(file, constants.X_OK);
  for (let dir = dirname(file); ; dir = dirname(dir)) {
    if ((statSync(dir).mode & 0o001) === 0) return false;
    if (dir === dirname(dir)) return true;
  }
}
