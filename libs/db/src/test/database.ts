import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, inject } from 'vitest';
import { createPool } from '../pool.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Given by the global set-up, once a run. */
    postgres: TestServer;
  }
}

/** The server of a test run. */
export interface TestServer {
  /** URL of a database from which others can be created. */
  readonly adminUrl: string;
  /** Name of the migrated database that each test file's own is a copy of. */
  readonly template: string;
}

/** A database of a test file's own. Its members can be used within hooks and tests, not before. */
export interface TestDatabase {
  readonly url: string;
  /** A pool on it, ended by itself. */
  readonly pool: pg.Pool;
}

/**
 * Gives the test file a migrated database of its own, and drops it afterwards. Call it at the top of the file, or
 * of a `describe`.
 */
export function useDatabase(options: { readonly empty?: boolean } = {}): TestDatabase {
  const { adminUrl, template } = inject('postgres');
  const name = `carillon_test_${randomUUID().replaceAll('-', '')}`;
  const url = withDatabase(adminUrl, name);
  let pool: pg.Pool | undefined;

  beforeAll(async () => {
    await administer(adminUrl, `create database ${name} template ${options.empty ? 'template0' : template}`);
    pool = createPool({ url, applicationName: 'carillon-test', max: 10, onError: () => undefined });
  });
  afterAll(async () => {
    await pool?.end();
    await administer(adminUrl, `drop database if exists ${name} with (force)`);
  });
  return {
    url,
    get pool(): pg.Pool {
      if (!pool) throw new Error('the database is there in hooks and tests only');
      return pool;
    },
  };
}

/** Runs one statement outside of any transaction, on a connection of its own. */
export async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  // Broken connections reject the query already.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** The same server, another database. */
export function withDatabase(url: string, name: string): string {
  const other = new URL(url);
  other.pathname = `/${name}`;
  return other.toString();
}
