import { Kysely, PostgresDialect } from 'kysely';
import type pg from 'pg';

/**
 * A typed view of a pool. The pool stays its owner's: end the pool, do not destroy the view.
 */
export function createDatabase<Tables>(pool: pg.Pool): Kysely<Tables> {
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
}
