import { execFile } from 'node:child_process';
import { chown, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { migrate } from '@carillon/db';
import {
  type EmbeddedPostgres,
  removeAbandonedServers,
  startEmbeddedPostgres,
} from '@carillon/embedded-postgres';
import { systemClock, systemEntropy } from '@carillon/server';
import pg from 'pg';
import { until } from './until.ts';

const FOLDER_PREFIX = 'carillon-server-';
let servers = 0;

/** How a server of its own is run. */
export interface DatabaseServerOptions {
  /** fsync. Default true: what is acknowledged has to survive. */
  readonly durable?: boolean;
  /** Whether it is given this version's schema. Default: true. */
  readonly migrated?: boolean;
  /** Where its data go. Default: a temporary folder. */
  readonly folder?: string;
  /** Further server settings, by name. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Added to the server's environment. Default: nothing. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A PostgreSQL of its own, migrated, that can be killed and started again in the same place. */
export class DatabaseServer {
  readonly #options: DatabaseServerOptions;
  readonly #folder: string;
  #server: EmbeddedPostgres;
  #ended: EmbeddedPostgres | undefined;

  private constructor(options: DatabaseServerOptions, folder: string, server: EmbeddedPostgres) {
    this.#options = options;
    this.#folder = folder;
    this.#server = server;
    this.#watch();
  }

  static async start(options: DatabaseServerOptions = {}): Promise<DatabaseServer> {
    const quiet = { clock: systemClock, log: () => undefined };
    await removeAbandonedServers(tmpdir(), FOLDER_PREFIX, quiet);
    // By the process id in its name an abandoned one is told.
    const folder = options.folder ?? join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-${++servers}`);
    const server = await launch(options, folder, undefined);
    const started = new DatabaseServer(options, folder, server);
    if (options.migrated ?? true) await started.migrate();
    return started;
  }

  /**
   * Starts a standby of a running server, from a backup that is taken while that one works, and waits until it follows.
   *
   * @param by the primary's URL as the standby is to reach it. Default: directly
   */
  static async startStandby(primary: DatabaseServer, by = primary.url): Promise<DatabaseServer> {
    const folder = join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-${++servers}`);
    const { port, username, password } = new URL(by);
    const options: DatabaseServerOptions = {
      ...primary.#options,
      folder,
      settings: {
        ...primary.#options.settings,
        primary_conninfo: `host=127.0.0.1 port=${port} user=${username} password=${password} sslmode=disable`,
      },
    };
    await primary.#copyRunning(folder);
    const standby = new DatabaseServer(options, folder, await launch(options, folder, undefined));
    try {
      await until(
        async () => await standby.#ask("select 1 from pg_stat_wal_receiver where status = 'streaming'"),
      );
      return standby;
    } catch (error) {
      await standby.remove();
      throw error;
    }
  }

  get url(): string {
    return this.#server.url;
  }

  /** Gives it this version's schema, and answers what that took. */
  async migrate(): Promise<readonly string[]> {
    return await migrate({ url: this.url, clock: systemClock, entropy: systemEntropy, log: () => undefined });
  }

  /** Ends a standby's recovery: from now on it takes writes, on a timeline of its own. */
  async promote(): Promise<void> {
    await this.#ask('select pg_promote(true, 60)');
  }

  /** Copies a database of this server that nobody is connected to, and answers the copy's URL. */
  async copy(name: string, from = 'carillon'): Promise<string> {
    await this.#ask(`create database ${name} template ${from}`);
    const url = new URL(this.url);
    url.pathname = `/${name}`;
    return url.toString();
  }

  /** The postmaster's process id. */
  get pid(): number {
    return this.#server.pid;
  }

  /** Whether it runs. */
  get running(): boolean {
    return this.#ended !== this.#server;
  }

  /** Ends it without a word: what was not flushed is lost, as when the process is killed by the system. */
  async kill(): Promise<void> {
    process.kill(this.#server.pid, 'SIGKILL');
    await this.#server.exited;
  }

  /** Starts it again, on the same data and port; recovery is part of it. */
  async restart(): Promise<void> {
    this.#server = await launch(this.#options, this.#folder, this.#server.port);
    this.#watch();
  }

  /** Takes a backup of it as it now is. It is away meanwhile. */
  async backUp(): Promise<void> {
    await this.#server.stop();
    await copyFolder(this.#data, this.#backup);
    await this.restart();
  }

  /** Restores the backup, as one promotes a standby that lags: what was committed since is lost, and a new timeline begins. */
  async restore(): Promise<void> {
    await this.#server.stop();
    await copyFolder(this.#backup, this.#data);
    await writeFile(join(this.#data, 'recovery.signal'), '');
    await this.restart();
  }

  /** Ends it and removes its data. */
  async remove(): Promise<void> {
    await this.#server.stop();
    await rm(this.#server.dataDir, { recursive: true, force: true });
  }

  /** Copies it as one makes a base backup, so that the copy is a standby when it starts. It works on meanwhile. */
  async #copyRunning(folder: string): Promise<void> {
    await this.#connected(async (client) => {
      await client.query("select pg_backup_start('standby', true)");
      await archiveFolder(this.#server.dataDir, folder);
      const { rows } = await client.query<{ label: string }>(
        'select labelfile as label from pg_backup_stop(false)',
      );
      const data = join(folder, 'data');
      const { uid, gid } = await stat(data);
      for (const [name, text] of [
        ['backup_label', rows[0]?.label ?? ''],
        ['standby.signal', ''],
      ] as const) {
        await writeFile(join(data, name), text);
        await chown(join(data, name), uid, gid);
      }
    });
  }

  /** Asks the server itself, and answers whether there was a row. */
  async #ask(sql: string): Promise<boolean> {
    return await this.#connected(async (client) => ((await client.query(sql)).rowCount ?? 0) > 0);
  }

  async #connected<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
    const url = new URL(this.url);
    url.pathname = '/postgres';
    const client = new pg.Client({ connectionString: url.toString() });
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  }

  get #data(): string {
    return join(this.#server.dataDir, 'data');
  }

  get #backup(): string {
    return join(this.#server.dataDir, 'backup');
  }

  #watch(): void {
    const server = this.#server;
    void server.exited.then(() => {
      this.#ended = server;
    });
  }
}

/** Copies a folder with its owners, in place of what is there. */
async function copyFolder(from: string, to: string): Promise<void> {
  await rm(to, { recursive: true, force: true });
  await promisify(execFile)('cp', ['-a', from, to]);
}

/** What a base backup leaves out. */
const NOT_COPIED = [
  './backup',
  './postgres.log',
  './data/postmaster.*',
  './data/pg_wal/*',
  './data/pg_replslot/*',
];

/** Copies the files of a running server, which change and vanish meanwhile: its log of what it does makes up for that. */
async function archiveFolder(from: string, to: string): Promise<void> {
  const archive = `${to}.tar`;
  try {
    const excluded = NOT_COPIED.map((path) => `--exclude=${path}`);
    const packing = ['-C', from, ...excluded, '--warning=no-file-changed', '--warning=no-file-removed'];
    await promisify(execFile)('tar', [...packing, '-cf', archive, '.']).catch((error: unknown) => {
      // Files were changed while they were read.
      if (!(error instanceof Error && 'code' in error && error.code === 1)) throw error;
    });
    await mkdir(to);
    await promisify(execFile)('tar', ['-C', to, '-xpf', archive]);
  } finally {
    await rm(archive, { force: true });
  }
}

async function launch(
  { durable = true, settings = {}, environment = {} }: DatabaseServerOptions,
  folder: string,
  port: number | undefined,
): Promise<EmbeddedPostgres> {
  return await startEmbeddedPostgres({
    dataDir: folder,
    durable,
    // Only a recovery reads it: a restored backup has all it needs.
    settings: { restore_command: '/bin/false', ...settings },
    environment,
    clock: systemClock,
    log: () => undefined,
    ...(port === undefined ? {} : { port }),
  });
}
