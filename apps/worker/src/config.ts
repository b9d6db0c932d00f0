import {
  type Config,
  type ConfigSchema,
  integer,
  LOG_LEVELS,
  list,
  oneOf,
  readConfig,
  text,
  url,
} from '@carillon/server';

/** The environment of the example worker. */
export const workerSettings = {
  runsUrl: url('CARILLON_RUNS_URL', {
    default: 'http://127.0.0.1:7703',
    description: 'Where the runs service listens.',
  }),
  queues: list('CARILLON_QUEUES', { default: ['default'], description: 'The queues to lease from.' }),
  slots: integer('CARILLON_SLOTS', {
    default: 4,
    min: 1,
    max: 500,
    description: 'How many runs to work on at once.',
  }),
  allowedCommands: list('CARILLON_ALLOWED_COMMANDS', {
    default: [],
    description: 'Absolute paths of the programs that the task command may run.',
  }),
  drainMs: integer('CARILLON_DRAIN_MS', {
    default: 20_000,
    max: 40_000,
    description: 'How long running tasks get to finish at SIGTERM.',
  }),
  logLevel: oneOf('CARILLON_LOG_LEVEL', LOG_LEVELS, { default: 'info', description: 'What is logged.' }),
} satisfies ConfigSchema;

/** The configuration of the example worker. */
export interface WorkerConfig extends Config<typeof workerSettings> {
  /** This process among its replicas. */
  readonly instance: string;
}

/**
 * Reads the configuration. `instance` is this process's name unless `CARILLON_INSTANCE` gives another.
 *
 * @throws {ConfigError} with every fault.
 */
export function readWorkerConfig(
  environment: Readonly<Record<string, string | undefined>>,
  instance: string,
): WorkerConfig {
  return readConfig(environment, {
    ...workerSettings,
    instance: text('CARILLON_INSTANCE', {
      default: instance,
      description: 'The name of this process, as the runs service and logs know it.',
    }),
  });
}
