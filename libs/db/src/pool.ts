import { Socket } from 'node:net';
import pg from 'pg';
import { columnValues } from './column-values.ts';

/** How to reach the database, and for how long what may take. */
export interface PoolOptions {
  /** `postgres://…` URL. Its own parameters (`sslmode`, `application_name`, `options`) win over those here. */
  readonly url: string;
  /** Shown in `pg_stat_activity`. */
  readonly applicationName: string;
  /** Told of every connection that broke, in use or idle. The pool replaces it by itself: log and count it. */
  readonly onError: (error: Error) => void;
  /** Most connections at a time. Default 10. */
  readonly max?: number;
  /** Limit for one statement, in milliseconds; 0 for none. Default 30,000. */
  readonly statementTimeoutMs?: number;
  /** Limit for waiting for a lock, in milliseconds; 0 for none. Default 0. */
  readonly lockTimeoutMs?: number;
  /** Limit for a whole transaction, in milliseconds; 0 for none. The server ends the connection. Default 60,000. */
  readonly transactionTimeoutMs?: number;
  /** Limit for doing nothing within a transaction, in milliseconds; 0 for none. Default 10,000. */
  readonly idleInTransactionTimeoutMs?: number;
  /** Limit for getting a connection, made or freed, in milliseconds. Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** An unused connection is closed after this time, in milliseconds. Default 60,000. */
  readonly idleTimeoutMs?: number;
}

/** How long after the server's own limits a connection in use that stays silent counts as dead. */
const SILENCE_MARGIN_MS = 5_000;

/** Idle time after which the kernel starts to probe a connection. */
export const KEEP_ALIVE_DELAY_MS = 10_000;

/**
 * A pool of connections, none of which can hang for good or bring the process down: the server ends what takes
 * too long, and a connection in use that stays silent beyond the server's own limits is cut here.
 */
export function createPool(options: PoolOptions): pg.Pool {
  const {
    statementTimeoutMs = 30_000,
    lockTimeoutMs = 0,
    transactionTimeoutMs = 60_000,
    idleInTransactionTimeoutMs = 10_000,
    idleTimeoutMs = 60_000,
  } = options;
  const { url, settings } = splitOptions(options.url);
  const ours = {
    statement_timeout: statementTimeoutMs,
    lock_timeout: lockTimeoutMs,
    transaction_timeout: transactionTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
  };
  const silenceMs = longestSilence(statementTimeoutMs, idleInTransactionTimeoutMs);
  const sockets = new WeakMap<pg.ClientBase, Socket>();
  const pool = new pg.Pool({
    connectionString: url,
    application_name: options.applicationName,
    max: options.max ?? 10,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    idleTimeoutMillis: idleTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
    types: columnValues,
    // Sent with the connection's first message, so that no statement ever runs without its limits.
    options: [...Object.entries(ours).map(([name, value]) => `-c ${name}=${value}`), settings]
      .join(' ')
      .trim(),
    Client: class extends pg.Client {
      constructor(config?: pg.ClientConfig) {
        const socket = new Socket();
        super({ ...config, stream: () => socket });
        sockets.set(this, socket);
        socket.on('timeout', () => {
          socket.destroy(new Error(`Connection terminated: no answer within ${silenceMs} ms`));
        });
      }
    },
  });
  // The server answers or hangs up before the limit, so the peer is gone without a word: a lost machine, a firewall
  // that forgot. An idle connection may be silent for as long as it likes.
  pool.on('acquire', (client) => sockets.get(client)?.setTimeout(silenceMs));
  pool.on('release', (_, client) => sockets.get(client)?.setTimeout(0));
  // The pool listens for errors of idle connections only; one that breaks while it is lent out, between two
  // statements, would end the process.
  pool.on('connect', (client) => {
    client.on('error', options.onError);
  });
  pool.on('error', () => undefined);
  return pool;
}

/** How long a connection in use may say nothing, in milliseconds; 0 for ever. */
function longestSilence(...limitsMs: number[]): number {
  return limitsMs.includes(0) ? 0 : Math.max(...limitsMs) + SILENCE_MARGIN_MS;
}

/** Takes `options` out of a URL: pg would let it replace ours, where both should hold. */
function splitOptions(text: string): { url: string; settings: string } {
  const url = new URL(text);
  const settings = url.searchParams.get('options') ?? '';
  if (settings === '') return { url: text, settings };
  url.searchParams.delete('options');
  return { url: url.toString(), settings };
}
