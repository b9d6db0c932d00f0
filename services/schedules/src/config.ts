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
  url,
} from '@carillon/server';

/** The environment of the schedules service. */
export const schedulesSettings = {
  databaseUrl: secret('DATABASE_URL', {
    description: 'The PostgreSQL database, as postgres://user:password@host/name.',
  }),
  host: text('CARILLON_HOST', { default: '127.0.0.1', description: 'The address to listen on.' }),
  port: port('CARILLON_PORT', { default: 7701, description: 'The port to listen on; 0 for any free one.' }),
  logLevel: oneOf('CARILLON_LOG_LEVEL', LOG_LEVELS, { default: 'info', description: 'What is logged.' }),
  databaseConnections: integer('CARILLON_DATABASE_CONNECTIONS', {
    default: 10,
    min: 1,
    max: 1000,
    description: 'The most connections to the database at once, without the one for notifications.',
  }),
  runsUrl: url('CARILLON_RUNS_URL', {
    default: 'http://127.0.0.1:7703',
    description: 'The runs service, which knows which slots ran.',
  }),
  runNames: oneOf('CARILLON_RUN_NAMES', ['carillon', 'flyte'], {
    default: 'carillon',
    description: 'How the scheduler names the runs of slots.',
  }),
  runRetentionDays: integer('CARILLON_RUN_RETENTION_DAYS', {
    default: 90,
    min: 8,
    max: 3650,
    description:
      'For how many days the runs service keeps runs, as it is told itself: no catch-up window is longer, and no older slot is redriven.',
  }),
  migrate: oneOf('CARILLON_MIGRATE', ['0', '1'], {
    default: '0',
    description: 'With 1, pending migrations are applied at the start; else an old schema ends it.',
  }),
} satisfies ConfigSchema;

/** The configuration of the schedules service. */
export interface SchedulesConfig extends Config<typeof schedulesSettings> {
  /** This process among its replicas. */
  readonly instance: string;
}

/**
 * Reads the configuration. `instance` is this process's name unless `CARILLON_INSTANCE` gives another.
 *
 * @throws {ConfigError} with every fault.
 */
export function readSchedulesConfig(
  environment: Readonly<Record<string, string | undefined>>,
  instance: string,
): SchedulesConfig {
  return readConfig(environment, {
    ...schedulesSettings,
    instance: text('CARILLON_INSTANCE', {
      default: instance,
      description: 'The name of this process in its logs.',
    }),
  });
}
