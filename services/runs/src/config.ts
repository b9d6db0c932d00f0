import {
  type Config,
  type ConfigSchema,
  integer,
  LOG_LEVELS,
  oneOf,
  port,
  readConfig,
  secret,
  text,
} from '@carillon/server';

/** The environment of the runs service. */
export const runsSettings = {
  databaseUrl: secret('DATABASE_URL', {
    description: 'The PostgreSQL database, as postgres://user:password@host/name.',
  }),
  host: text('CARILLON_HOST', { default: '127.0.0.1', description: 'The address to listen on.' }),
  port: port('CARILLON_PORT', { default: 7703, description: 'The port to listen on; 0 for any free one.' }),
  logLevel: oneOf('CARILLON_LOG_LEVEL', LOG_LEVELS, { default: 'info', description: 'What is logged.' }),
  databaseConnections: integer('CARILLON_DATABASE_CONNECTIONS', {
    default: 10,
    min: 2,
    max: 1000,
    description: 'The most connections to the database at once, without the two for notifications.',
  }),
  migrate: oneOf('CARILLON_MIGRATE', ['0', '1'], {
    default: '0',
    description: 'With 1, pending migrations are applied at the start; else an old schema ends it.',
  }),
  retentionDays: integer('CARILLON_RUN_RETENTION_DAYS', {
    default: 90,
    min: 8,
    max: 3650,
    description:
      'Runs are kept for so many days after their nominal time. To be set for the schedules service too, which allows no longer catch-up windows.',
  }),
  leaseTtlMs: integer('CARILLON_RUN_LEASE_TTL_MS', {
    default: 30_000,
    min: 500,
    max: 600_000,
    description: "How long a worker's lease lasts without a heartbeat; three heartbeats are sent in it.",
  }),
} satisfies ConfigSchema;

/** The configuration of the runs service. */
export interface RunsConfig extends Config<typeof runsSettings> {
  /** This process among its replicas. */
  readonly instance: string;
}

/**
 * Reads the configuration. `instance` is this process's name unless `CARILLON_INSTANCE` gives another.
 *
 * @throws {ConfigError} with every fault.
 */
export function readRunsConfig(
  environment: Readonly<Record<string, string | undefined>>,
  instance: string,
): RunsConfig {
  return readConfig(environment, {
    ...runsSettings,
    instance: text('CARILLON_INSTANCE', {
      default: instance,
      description: 'The name of this process in its logs.',
    }),
  });
}
