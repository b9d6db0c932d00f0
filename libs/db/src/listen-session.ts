import { Socket } from 'node:net';
import type { Clock, Entropy } from '@carillon/core/clock.ts';
import pg from 'pg';
import { KEEP_ALIVE_DELAY_MS } from './pool.ts';

/** A pooler between us and PostgreSQL takes our session away: notifications would be lost without a word. */
export class SessionStateLostError extends Error {
  constructor(reason: string) {
    super(
      `${reason}: a connection pooler in transaction or statement mode stands before PostgreSQL, and it loses ` +
        'notifications. Give the address of PostgreSQL itself, or of a pooler in session mode.',
    );
    this.name = 'SessionStateLostError';
  }
}

/** What a session needs to open. */
export interface ListenSessionOptions {
  /** Connection URL of PostgreSQL itself. */
  readonly url: string;
  readonly applicationName: string;
  readonly channels: readonly string[];
  /** Limit for connecting and for the first proof that notifications arrive, each, in milliseconds. */
  readonly connectTimeoutMs: number;
  readonly onNotification: (channel: string, payload: string) => void;
  /** Cuts the session, also while it opens. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** One connection that listens, from LISTEN to its end. */
export class ListenSession {
  readonly #options: ListenSessionOptions;
  readonly #client: pg.Client;
  readonly #socket: Socket;
  readonly #ended = new AbortController();
  #backendPid = 0;

  private constructor(options: ListenSessionOptions) {
    this.#options = options;
    const { client, socket } = connection(options);
    this.#client = client;
    this.#socket = socket;
    client.on('error', (error) => this.#ended.abort(error));
    client.on('end', () => this.#ended.abort(new Error('Connection terminated')));
    client.on('notification', ({ channel, payload }) => {
      if (options.channels.includes(channel)) options.onNotification(channel, payload ?? '');
    });
  }

  /**
   * Connects, listens, and proves that a notification from elsewhere arrives.
   * @throws SessionStateLostError when a pooler prevents it.
   */
  static async open(options: ListenSessionOptions): Promise<ListenSession> {
    const session = new ListenSession(options);
    const close = (): void => session.close();
    options.signal.addEventListener('abort', close);
    session.ended.addEventListener('abort', () => options.signal.removeEventListener('abort', close));
    try {
      options.signal.throwIfAborted();
      await session.#within(options.connectTimeoutMs, session.#client.connect());
      const list = options.channels.map((channel) => `listen ${session.#client.escapeIdentifier(channel)}`);
      await session.#within(options.connectTimeoutMs, session.#client.query(list.join('; ')));
      await session.#prove();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  /** Aborted, with the reason, as soon as the connection is known to be gone. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /**
   * Asks the server whether it still listens for us.
   * @throws Error when the answer is no, or does not come within `timeoutMs`; the session is over then.
   */
  async check(timeoutMs: number): Promise<void> {
    const { pid, channels } = await this.#state(timeoutMs);
    const missing = this.#options.channels.filter((channel) => !channels.includes(channel));
    if (pid !== this.#backendPid) throw new SessionStateLostError('the session moved to another backend');
    if (missing.length > 0)
      throw new SessionStateLostError(`the session no longer listens to ${missing.join(', ')}`);
  }

  /** Cuts the connection at once. */
  close(): void {
    this.#socket.destroy();
  }

  /** Sends a notification by a second connection: through a pooler that shares backends it never comes back. */
  async #prove(): Promise<void> {
    const { connectTimeoutMs, clock, entropy } = this.#options;
    const channel = `carillon_probe_${entropy.uuid()}`;
    await this.#within(connectTimeoutMs, this.#client.query(`listen "${channel}"`));
    const { pid } = await this.#state(connectTimeoutMs);
    this.#backendPid = pid;

    const arrived = new Promise<boolean>((resolve) => {
      this.#client.on('notification', (message) => {
        if (message.channel === channel) resolve(true);
      });
      this.ended.addEventListener('abort', () => resolve(false), { once: true });
    });
    const { client: sender, socket } = connection(this.#options);
    sender.on('error', () => undefined);
    const patience = clock.after(2 * connectTimeoutMs, () => socket.destroy());
    this.ended.addEventListener('abort', () => socket.destroy(), { once: true });
    try {
      await sender.connect();
      await sender.query(`notify "${channel}"`);
      if (!(await this.#soonOrFalse(arrived))) {
        this.ended.throwIfAborted();
        // A pooler invents the process id that it tells its clients.
        if (toldPid(this.#client) === pid) throw new Error('a notification did not arrive');
        throw new SessionStateLostError('a notification did not arrive');
      }
    } finally {
      patience.cancel();
      socket.destroy();
    }
    await this.#within(connectTimeoutMs, this.#client.query(`unlisten "${channel}"`));
  }

  #soonOrFalse(arrived: Promise<boolean>): Promise<boolean> {
    const { clock, connectTimeoutMs } = this.#options;
    return new Promise((resolve) => {
      const timer = clock.after(connectTimeoutMs, () => resolve(false));
      void arrived.then((answer) => {
        timer.cancel();
        resolve(answer);
      });
    });
  }

  async #state(timeoutMs: number): Promise<{ pid: number; channels: readonly string[] }> {
    const { rows } = await this.#within(
      timeoutMs,
      this.#client.query<{ pid: number; channels: string[] }>(
        'select pg_backend_pid() as pid, array(select pg_listening_channels()) as channels',
      ),
    );
    if (!rows[0]) throw new Error('no answer to the heartbeat');
    return rows[0];
  }

  /** Cuts the connection, which rejects what is under way on it, when that does not settle in time. */
  async #within<Result>(limitMs: number, work: Promise<Result>): Promise<Result> {
    const { clock } = this.#options;
    const late = (): void => {
      this.#socket.destroy(new Error(`Connection terminated: no answer within ${limitMs} ms`));
    };
    // After a stall of our own the timer may run before the answer, which waits in the socket, is read: look again.
    let timer = clock.after(limitMs, () => {
      timer = clock.after(1, late);
    });
    try {
      return await work;
    } finally {
      timer.cancel();
    }
  }
}

/** A client over a socket of ours, which can be cut although the peer no longer answers. */
function connection({ url, applicationName }: ListenSessionOptions): { client: pg.Client; socket: Socket } {
  const socket = new Socket();
  const client = new pg.Client({
    connectionString: url,
    application_name: applicationName,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    stream: () => socket,
  });
  return { client, socket };
}

/** The backend's process id as the server told it at the start; pg's types leave it out. */
function toldPid(client: pg.Client & { readonly processID?: number | null }): number | undefined {
  return client.processID ?? undefined;
}
