import { type Backoff, backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, sleep } from '@carillon/core/clock.ts';
import { type Migration, Migrator } from 'kysely/migration';
import type pg from 'pg';
import { createDatabase } from './database.ts';
import { migrations as ours } from './migrations/index.ts';
import { createPool } from './pool.ts';
import { assertCompatible, readSchemaState, recordVersion } from './schema-compatibility.ts';
import { latestVersion, type SchemaMigration } from './schema-migration.ts';
import { assertServerVersion } from './server-version.ts';
import { SqlState, sqlState } from './sqlstate.ts';

/** What to migrate. */
export interface MigrateOptions {
  /** Connection URL; the role must own the schema. */
  readonly url: string;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Told of waits for locks, and of broken connections. */
  readonly log: (line: string) => void;
  /** Default: the migrations of this package. */
  readonly migrations?: Readonly<Record<string, SchemaMigration>>;
}

/** A change that waits for a lock makes everybody behind it wait as well: it gives up soon, and tries again. */
const LOCK_TIMEOUT_MS = 5_000;
const LOCK_ATTEMPTS = 20;
const LOCK_DELAY: Backoff = { initialMs: 1_000, maxMs: 10_000 };

/**
 * Brings the database to the newest schema that this binary knows, and answers the names of what was applied. Safe
 * when several do so at once (one works, the others wait), and when the database is newer already, provided that
 * its schema still bears this binary.
 * @throws SchemaIncompatibleError when the database's schema leaves this binary behind.
 * @throws ServerTooOldError
 */
export async function migrate(options: MigrateOptions): Promise<readonly string[]> {
  const { clock, entropy, log, migrations = ours } = options;
  const pool = createPool({
    url: options.url,
    applicationName: 'carillon-migrate',
    max: 2,
    statementTimeoutMs: 0,
    transactionTimeoutMs: 0,
    idleInTransactionTimeoutMs: 60_000,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    onError: (error) => log(`a connection broke: ${error.message}`),
  });
  try {
    await assertServerVersion(pool);
    for (let attempt = 1; ; attempt++) {
      const state = await readSchemaState(pool);
      if (state.version >= latestVersion(migrations)) {
        assertCompatible(state, latestVersion(migrations));
        return [];
      }
      try {
        return await applyPending(pool, migrations);
      } catch (error) {
        if (attempt >= LOCK_ATTEMPTS || sqlState(error) !== SqlState.lockNotAvailable) throw error;
        log('a migration waits for a lock that others hold');
        await sleep(clock, backoffMs(LOCK_DELAY, attempt, entropy.fraction()));
      }
    }
  } finally {
    await pool.end();
  }
}

async function applyPending(
  pool: pg.Pool,
  migrations: Readonly<Record<string, SchemaMigration>>,
): Promise<readonly string[]> {
  const recorded = Object.entries(migrations).map(([name, migration]): [string, Migration] => [
    name,
    {
      async up(db) {
        await migration.up(db);
        await recordVersion(db, name, migration);
      },
    },
  ]);
  const migrator = new Migrator({
    db: createDatabase(pool),
    provider: { getMigrations: async () => Object.fromEntries(recorded) },
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  if (error !== undefined) {
    const failed = results.find((result) => result.status === 'Error')?.migrationName;
    if (failed === undefined || sqlState(error) === SqlState.lockNotAvailable) throw error;
    throw new Error(`migration "${failed}" failed`, { cause: error });
  }
  return results.map((result) => result.migrationName);
}
