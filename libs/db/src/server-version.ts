import type pg from 'pg';
import { SqlState, sqlState } from './sqlstate.ts';

/** The oldest PostgreSQL that has what is used here (`transaction_timeout`). */
export const MINIMUM_SERVER_VERSION = 17;

/** The server is too old. */
export class ServerTooOldError extends Error {
  constructor(found: string, minimum: number) {
    super(`PostgreSQL ${minimum} or later is needed, this one is ${found}`);
    this.name = 'ServerTooOldError';
  }
}

/** @throws ServerTooOldError when the server is older than `minimum`. */
export async function assertServerVersion(pool: pg.Pool, minimum = MINIMUM_SERVER_VERSION): Promise<void> {
  let version: number;
  try {
    const { rows } = await pool.query<{ version: number }>(
      "select current_setting('server_version_num')::int as version",
    );
    version = rows[0]?.version ?? 0;
  } catch (error) {
    // A server before 17 refuses the connection already, because our pools set what it does not know.
    if (sqlState(error) === SqlState.undefinedObject && /transaction_timeout/.test(String(error))) {
      throw new ServerTooOldError('older', minimum);
    }
    throw error;
  }
  const major = Math.floor(version / 10_000);
  if (major < minimum) throw new ServerTooOldError(String(major), minimum);
}
