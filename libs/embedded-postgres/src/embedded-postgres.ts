import { type ChildProcess, spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Clock, sleep } from '@carillon/core/clock.ts';
import pg from 'pg';
import { installedRelease, runnableBinaries } from './binaries.ts';
import { type Cluster, createCluster, DATABASE, findCluster, ROLE } from './cluster.ts';
import { freePort, HOST } from './free-port.ts';
import { clusterName, makeWay, type PostmasterExit, readPidFile, stopProcess } from './postmaster.ts';
import { spawnOptions, unprivilegedUser } from './run-as.ts';

/** How to start an embedded server. */
export interface EmbeddedPostgresOptions {
  /**
   * Folder for the cluster; made at the first start. When root starts the server and PostgreSQL's user cannot
   * reach the folder, a lasting one elsewhere is used, always the same for this path: see
   * {@link EmbeddedPostgres.dataDir}.
   */
  readonly dataDir: string;
  /** Port to prefer; another one is chosen when it is taken. Default: any free one. */
  readonly port?: number;
  /** Survive power loss (fsync). False only for data that may be lost, as in tests. Default true. */
  readonly durable?: boolean;
  /** Further server settings, by name. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Added to the server's environment, which is bare otherwise. Default: nothing. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Limit for the whole start, crash recovery included, in milliseconds. Default 60,000. */
  readonly startTimeoutMs?: number;
  /** Told in plain words what the launcher does that a reader would wonder about. */
  readonly log: (line: string) => void;
  readonly clock: Clock;
}

/** A running server. */
export interface EmbeddedPostgres {
  /** Connection URL with password, to the database `carillon` of the role `carillon`, which owns the cluster. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** The folder in use: `data`, `password` and `postgres.log`. */
  readonly dataDir: string;
  /** Settles when the server has ended, for whatever reason. Never rejects. */
  readonly exited: Promise<PostmasterExit>;
  /** Ends it: fast shutdown, after 10 s immediate, after 5 s more SIGKILL. May be called twice. */
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL that npm installed, on the loopback, with its data in `dataDir`. Whatever an earlier
 * start left behind (a lock, an orphan, memory in use) is cleared first.
 * @throws PostgresInUseError when another living process runs this cluster.
 * @throws Error with the end of the server's log when it does not come up.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { clock, log, durable = true } = options;
  const wanted = resolve(options.dataDir);
  const deadline = clock.monotonic() + (options.startTimeoutMs ?? 60_000);

  const found = await findCluster(wanted, log);
  const runAs = found?.runAs ?? unprivilegedUser();
  const binaries = await runnableBinaries(await installedRelease(), runAs, log);
  const cluster = found ?? (await createCluster(wanted, runAs, binaries, durable, log));

  for (let preferred = options.port; ; preferred = undefined) {
    await makeWay(cluster.data, clock, log);
    const port = await freePort(preferred);
    if (preferred !== undefined && preferred !== port) log(`port ${preferred} is taken, using ${port}`);
    const logFile = join(cluster.dir, 'postgres.log');
    const logStart = await sizeOf(logFile);
    const settings = { ...options.settings, port: String(port), fsync: durable ? 'on' : 'off' };
    const server = launch(cluster, binaries.postgres, logFile, settings, options.environment ?? {});
    const failure = await untilReady(server, cluster.data, deadline, clock);
    if (failure === undefined) return await opened(server, cluster, port, clock);

    const lines = (await readFile(logFile, 'utf8')).slice(logStart).trim();
    if (!PASSING.test(lines) || clock.monotonic() > deadline) {
      throw new Error(`PostgreSQL did not start: ${failure}\n${lines.slice(-LOG_TAIL)}`);
    }
    await sleep(clock, RETRY_MS);
  }
}

/** Complaints that pass by themselves: a port taken just now, a dying server that still holds lock or memory. */
const PASSING =
  /could not create any TCP\/IP sockets|pre-existing shared memory block|lock file "postmaster\.pid" (already exists|is empty)/;

const POLL_MS = 20;
const RETRY_MS = 250;
const LOG_TAIL = 2_000;

/** Settings of every embedded server; some more are given per start. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: HOST,
  // No Unix socket: its path has a length limit that a deep checkout exceeds.
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '128MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

interface Server {
  readonly child: ChildProcess;
  readonly exited: Promise<PostmasterExit>;
  /** Set once it has ended. */
  ended(): boolean;
}

function launch(
  cluster: Cluster,
  postgres: string,
  logFile: string,
  settings: Readonly<Record<string, string>>,
  environment: Readonly<Record<string, string>>,
): Server {
  const assignments = Object.entries({ ...SETTINGS, ...settings }).flatMap(([name, value]) => [
    '-c',
    `${name}=${value}`,
  ]);
  // The shell opens the log as PostgreSQL's user, then becomes the server: same process id. A file and not a
  // pipe, because the server must be able to outlive us without blocking on what nobody reads.
  const script = 'log=$1; shift; exec "$@" >>"$log" 2>&1';
  const command = [postgres, '-D', cluster.data, '-c', clusterName(), ...assignments];
  const options = spawnOptions(cluster.runAs);
  const child = spawn('/bin/sh', ['-c', script, 'sh', logFile, ...command], {
    ...options,
    env: { ...options.env, ...environment },
    stdio: 'ignore',
    // A session of its own: Ctrl-C in the terminal must reach the services first, and PostgreSQL last.
    detached: true,
  });
  let over = false;
  const exited = new Promise<PostmasterExit>((done) => {
    const end = (exit: PostmasterExit): void => {
      over = true;
      done(exit);
    };
    child.on('exit', (code, signal) => end({ code, signal }));
    child.on('error', () => end({ code: 126, signal: null }));
  });
  return { child, exited, ended: () => over };
}

/** Waits until the server takes connections; answers why not when it ended or the time is up. */
async function untilReady(
  server: Server,
  data: string,
  deadline: number,
  clock: Clock,
): Promise<string | undefined> {
  for (;;) {
    if (server.ended()) {
      const { code, signal } = await server.exited;
      return signal ? `it was ended by ${signal}` : `it exited with code ${code}`;
    }
    const lock = await readPidFile(data);
    if (lock?.ready && lock.pid === server.child.pid) return undefined;
    if (clock.monotonic() > deadline) {
      await stop(server, clock);
      return 'it was not ready in time';
    }
    await sleep(clock, POLL_MS);
  }
}

async function opened(
  server: Server,
  cluster: Cluster,
  port: number,
  clock: Clock,
): Promise<EmbeddedPostgres> {
  const { password } = cluster;
  try {
    await createDatabase({ host: HOST, port, user: ROLE, password, ssl: false });
  } catch (error) {
    await stop(server, clock);
    throw error;
  }
  return {
    // Said in the URL, so that a PGSSLMODE meant for other servers does not apply to this one.
    url: `postgres://${ROLE}:${password}@${HOST}:${port}/${DATABASE}?sslmode=disable`,
    port,
    pid: pidOf(server),
    dataDir: cluster.dir,
    exited: server.exited,
    stop: () => stop(server, clock),
  };
}

async function createDatabase(access: pg.ClientConfig): Promise<void> {
  const client = new pg.Client({ ...access, database: 'postgres', connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

async function stop(server: Server, clock: Clock): Promise<void> {
  if (server.ended()) return;
  await stopProcess(pidOf(server), async () => server.ended(), clock);
}

function pidOf(server: Server): number {
  if (server.child.pid === undefined) throw new Error('PostgreSQL was never started');
  return server.child.pid;
}

async function sizeOf(file: string): Promise<number> {
  const found = await stat(file).catch(() => undefined);
  return found?.size ?? 0;
}
