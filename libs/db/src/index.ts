export { createDatabase } from './database.ts';
export { SessionStateLostError } from './listen-session.ts';
export { type Hints, Listener, type ListenerOptions } from './listener.ts';
export { type MigrateOptions, migrate } from './migrate.ts';
export { Notifier, type NotifierOptions } from './notifier.ts';
export { createPool, type PoolOptions } from './pool.ts';
export {
  assertSchemaCompatible,
  readSchemaState,
  SchemaIncompatibleError,
  type SchemaState,
} from './schema-compatibility.ts';
export { type SchemaMigration, schemaVersion } from './schema-migration.ts';
export { assertServerVersion, MINIMUM_SERVER_VERSION, ServerTooOldError } from './server-version.ts';
export {
  isConflict,
  isConnectionError,
  isDataError,
  isTransient,
  SqlState,
  sqlState,
  violates,
} from './sqlstate.ts';
export { type ConflictRetry, type TransactionOptions, transaction } from './transaction.ts';
