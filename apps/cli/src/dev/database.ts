import { type Clock, sleep } from '@carillon/core/clock.ts';
import {
  isConnectionError,
  migrate,
  SchemaIncompatibleError,
  ServerTooOldError,
  sqlState,
} from '@carillon/db';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '@carillon/embedded-postgres';
import { CliError, ExitCode, usageError } from '../exit-code.ts';
import type { Host } from '../host.ts';
import type { ProcessObserver, ProcessState } from './supervised-process.ts';

/** The database of a running `carillon dev`. */
export interface DevDatabase {
  readonly url: string;
  /** The folder of the embedded server's data; null with a DATABASE_URL. */
  readonly dataDirectory: string | null;
  /** Stops the embedded server; a server of somebody else's is left alone. */
  stop(): Promise<void>;
}

/** What it takes to have a database. */
export interface DevDatabaseOptions {
  readonly host: Pick<Host, 'clock' | 'entropy' | 'environment'>;
  /** Folder for the embedded server. */
  readonly folder: string;
  /** The port it had before. */
  readonly port: number | undefined;
  readonly observer: Omit<ProcessObserver, 'onSpawn'> & { onSpawn(pid: number): void };
  /** Told once where the server listens, as `host:port`, before it is ready. */
  readonly onAddress: (address: string) => void;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 15_000;

/**
 * Uses the database of `DATABASE_URL`, or starts the embedded server and keeps it running; migrated either way.
 * @throws CliError when `DATABASE_URL` is no URL, or its database cannot be used as it is.
 */
export async function openDatabase(options: DevDatabaseOptions): Promise<DevDatabase> {
  const given = options.host.environment.DATABASE_URL;
  if (given) return openForeignDatabase(given, options);
  const database = await EmbeddedDatabase.start(options);
  try {
    await migrateWhenReachable(database.url, options);
  } catch (error) {
    await database.stop();
    throw error;
  }
  return database;
}

/** A server of somebody else's may be away for a while; that is no reason to give up. */
async function migrateWhenReachable(url: string, { host, log, signal }: DevDatabaseOptions): Promise<void> {
  const { clock, entropy } = host;
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(LONGEST_DELAY_MS, delayMs * 2)) {
    signal.throwIfAborted();
    try {
      const applied = await migrate({ url, clock, entropy, log });
      if (applied.length > 0) log(`migrated: ${applied.join(', ')}`);
      return;
    } catch (error) {
      if (!isConnectionError(error)) throw error;
      log(
        `the database cannot be reached, trying again: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    await sleep(clock, delayMs, signal);
  }
}

async function openForeignDatabase(url: string, options: DevDatabaseOptions): Promise<DevDatabase> {
  const { observer, onAddress } = options;
  const parsed = URL.parse(url);
  if (parsed === null || !['postgres:', 'postgresql:'].includes(parsed.protocol)) {
    throw usageError(
      'DATABASE_URL is not the URL of a PostgreSQL database: postgres://USER@HOST:PORT/DATABASE',
    );
  }
  onAddress(parsed.host);
  observer.onState({ kind: 'unready', reason: 'not reached yet' }, 0);
  try {
    await migrateWhenReachable(url, options);
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const message = `the database of DATABASE_URL cannot be used: ${error.message}`;
    throw new CliError(ExitCode.failed, message, [], { cause: error });
  }
  observer.onState({ kind: 'ready' }, 0);
  return { url, dataDirectory: null, stop: async () => undefined };
}

/** Whether somebody else's server, or what lies on it, is the reason: its own words then say more than our stack. */
function isRefusal(error: unknown): error is Error {
  return (
    error instanceof ServerTooOldError ||
    error instanceof SchemaIncompatibleError ||
    (error instanceof Error && sqlState(error) !== undefined)
  );
}

/** The embedded server, started again on the same port whenever it ends. */
class EmbeddedDatabase implements DevDatabase {
  readonly url: string;
  readonly dataDirectory: string;
  readonly #options: DevDatabaseOptions;
  readonly #stopping = new AbortController();
  readonly #loop: Promise<void>;
  #server: EmbeddedPostgres;
  #restarts = 0;

  static async start(options: DevDatabaseOptions): Promise<EmbeddedDatabase> {
    options.observer.onState({ kind: 'starting' }, 0);
    return new EmbeddedDatabase(options, await launch(options, options.port));
  }

  private constructor(options: DevDatabaseOptions, server: EmbeddedPostgres) {
    this.#options = options;
    this.#server = server;
    this.url = server.url;
    this.dataDirectory = server.dataDir;
    options.onAddress(`127.0.0.1:${server.port}`);
    this.#enter({ kind: 'ready' });
    this.#loop = this.#keepRunning(options.host.clock);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    this.#enter({ kind: 'stopping' });
    await this.#server.stop();
    await this.#loop;
    // A restart may have been under way.
    await this.#server.stop();
    this.#enter({ kind: 'stopped' });
  }

  async #keepRunning(clock: Clock): Promise<void> {
    const stop = this.#stopping.signal;
    let failures = 0;
    for (;;) {
      const { code, signal } = await this.#server.exited;
      if (stop.aborted) return;
      const exit = signal === null ? `exited with ${code}` : `ended by ${signal}`;
      failures = 0;
      while (!stop.aborted) {
        failures += 1;
        const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1));
        this.#restarts += 1;
        this.#enter({ kind: 'waiting', exit, restartAt: clock.monotonic() + delayMs });
        await sleep(clock, delayMs, stop).catch(() => undefined);
        if (stop.aborted || (await this.#relaunch())) break;
      }
      if (stop.aborted) return;
    }
  }

  async #relaunch(): Promise<boolean> {
    this.#enter({ kind: 'starting' });
    try {
      const server = await launch(this.#options, this.#server.port);
      if (server.port !== this.#server.port) {
        // The services know the address they were started with.
        await server.stop();
        throw new Error(`port ${this.#server.port} is taken`);
      }
      this.#server = server;
      this.#enter({ kind: 'ready' });
      return true;
    } catch (error) {
      this.#options.observer.onComplaint(error instanceof Error ? error.message : String(error));
      return false;
    }
  }

  #enter(state: ProcessState): void {
    this.#options.observer.onState(state, this.#restarts);
  }
}

async function launch(options: DevDatabaseOptions, port: number | undefined): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({
    dataDir: options.folder,
    ...(port === undefined ? {} : { port }),
    log: options.log,
    clock: options.host.clock,
  });
  options.observer.onSpawn(server.pid);
  return server;
}
