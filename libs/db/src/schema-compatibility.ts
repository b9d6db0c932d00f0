import { type Kysely, sql } from 'kysely';
import type pg from 'pg';
import { migrations as ours } from './migrations/index.ts';
import { latestVersion, type SchemaMigration, schemaVersion } from './schema-migration.ts';
import { assertServerVersion } from './server-version.ts';
import { SqlState, sqlState } from './sqlstate.ts';

/** This binary must not run on this database; the message says which of them to change. */
export class SchemaIncompatibleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SchemaIncompatibleError';
  }
}

/** What a database says of its schema. */
export interface SchemaState {
  /** The newest migration that was applied; 0 for none. */
  readonly version: number;
  /** Binaries made for an older version than this one must not run. */
  readonly oldestBinary: number;
}

/**
 * Whether this binary may run: called by every service at its start.
 * @throws SchemaIncompatibleError when the database lacks migrations that the binary needs, or has one that leaves
 *   binaries as old as this behind.
 * @throws ServerTooOldError
 */
export async function assertSchemaCompatible(pool: pg.Pool, migrations = ours): Promise<void> {
  await assertServerVersion(pool);
  assertCompatible(await readSchemaState(pool), latestVersion(migrations));
}

/** The rule, without a database. */
export function assertCompatible(database: SchemaState, binary: number): void {
  if (database.version < binary) {
    throw new SchemaIncompatibleError(
      `the database's schema has version ${database.version}, this program needs ${binary}: migrate the database first`,
    );
  }
  if (database.oldestBinary > binary) {
    throw new SchemaIncompatibleError(
      `the database's schema has version ${database.version}, which programs need version ${database.oldestBinary} for; ` +
        `this one is made for ${binary}: deploy a newer one`,
    );
  }
}

/** Reads what was applied; all zero when nothing was. */
export async function readSchemaState(pool: pg.Pool): Promise<SchemaState> {
  try {
    const { rows } = await pool.query<SchemaState>(
      `select coalesce(max(version), 0) as "version", coalesce(max(oldest_binary), 0) as "oldestBinary"
       from schema_versions`,
    );
    return rows[0] ?? { version: 0, oldestBinary: 0 };
  } catch (error) {
    if (sqlState(error) === SqlState.undefinedTable) return { version: 0, oldestBinary: 0 };
    throw error;
  }
}

/** Notes a migration beside its change, in the same transaction. */
export async function recordVersion(
  db: Kysely<unknown>,
  name: string,
  { oldestBinary = 0 }: SchemaMigration,
): Promise<void> {
  await sql`
    create table if not exists schema_versions (
      version integer primary key,
      name text not null,
      -- Binaries made for an older version than this one refuse to run.
      oldest_binary integer not null,
      apply_time timestamptz not null default clock_timestamp()
    )
  `.execute(db);
  await sql`
    insert into schema_versions (version, name, oldest_binary) values (${schemaVersion(name)}, ${name}, ${oldestBinary})
  `.execute(db);
}
