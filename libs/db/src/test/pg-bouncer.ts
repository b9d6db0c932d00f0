import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

/** Debian puts it where only root looks. */
const ENVIRONMENT = { PATH: `${process.env.PATH}:/usr/sbin` };
const NOBODY = 65_534;

/** How a pooler gives out its connections: for a transaction each, or for as long as a client stays. */
export type PoolMode = 'transaction' | 'session';

/** A connection pooler before a database. */
export class PgBouncer {
  /** The database's URL, by way of this pooler. */
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, child: ChildProcess, folder: string) {
    this.url = url;
    this.#child = child;
    this.#folder = folder;
  }

  /** Whether this machine has one. */
  static installed(): boolean {
    try {
      execFileSync('pgbouncer', ['--version'], { env: ENVIRONMENT });
      return true;
    } catch {
      return false;
    }
  }

  /** Starts one, and waits until it answers. */
  static async start(databaseUrl: string, mode: PoolMode): Promise<PgBouncer> {
    const { hostname, port, pathname, username, password } = new URL(databaseUrl);
    const own = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'carillon-pgbouncer-'));
    chmodSync(folder, 0o755);
    const name = pathname.slice(1);
    const settings = join(folder, 'pgbouncer.ini');
    writeFileSync(
      settings,
      `[databases]
${name} = host=${hostname} port=${port} dbname=${name} user=${username} password=${decodeURIComponent(password)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${own}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
ignore_startup_parameters = options
`,
    );
    // It refuses to run as root.
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
    const child = spawn('pgbouncer', ['-q', settings], { stdio: 'ignore', env: ENVIRONMENT, ...user });
    const url = new URL(databaseUrl);
    url.port = String(own);
    for (;;) {
      const client = new pg.Client({ connectionString: url.toString() });
      try {
        await client.connect();
        await client.end();
        return new PgBouncer(url.toString(), child, folder);
      } catch (error) {
        if (child.exitCode !== null) throw error;
        await delay(20);
      }
    }
  }

  /** Ends it. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('no port is free');
  return address.port;
}
