import type { Kysely } from 'kysely';

/** One forward step of the schema: what a module in `migrations/` exports. */
export interface SchemaMigration {
  /** Makes the change. All pending migrations run in one transaction: all of them hold, or none. */
  up(db: Kysely<unknown>): Promise<void>;
  /**
   * The oldest schema version whose binaries still work after this step. Leave it out when a step only expands the
   * schema; give it when a step takes away what binaries of older versions use (contract).
   */
  readonly oldestBinary?: number;
}

/** The number in a migration's name. */
export function schemaVersion(name: string): number {
  const version = /^(\d{4})-[a-z0-9-]+$/.exec(name)?.[1];
  if (version === undefined) throw new Error(`"${name}" is no name of a migration: <four digits>-<what>`);
  return Number(version);
}

/**
 * The schema version that a binary with these migrations is made for.
 * @throws Error when the versions do not run from 1 without a gap.
 */
export function latestVersion(migrations: Readonly<Record<string, SchemaMigration>>): number {
  const names = Object.keys(migrations);
  for (const [index, name] of names.entries()) {
    if (schemaVersion(name) !== index + 1)
      throw new Error(`migration "${name}" stands at place ${index + 1}`);
  }
  return names.length;
}
