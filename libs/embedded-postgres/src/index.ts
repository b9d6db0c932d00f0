export { removeAbandonedServers } from './abandoned.ts';
export {
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
  startEmbeddedPostgres,
} from './embedded-postgres.ts';
export { PostgresInUseError, type PostmasterExit } from './postmaster.ts';
