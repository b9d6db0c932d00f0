import type { Assignment } from '@carillon/core/assignment.ts';
import {
  type Config,
  ConfigError,
  type ConfigSchema,
  decimal,
  integer,
  LOG_LEVELS,
  oneOf,
  port,
  readConfig,
  secret,
  text,
  url,
} from '@carillon/server';
import { parseAssignment } from './sharding-config.ts';

/** The environment of the scheduler. */
export const schedulerSettings = {
  databaseUrl: secret('DATABASE_URL', {
    description: 'The PostgreSQL database itself: not through a pooler in transaction mode.',
  }),
  host: text('CARILLON_HOST', { default: '127.0.0.1', description: 'The address to listen on.' }),
  port: port('CARILLON_PORT', { default: 7702, description: 'The port to listen on; 0 for any free one.' }),
  logLevel: oneOf('CARILLON_LOG_LEVEL', LOG_LEVELS, { default: 'info', description: 'What is logged.' }),
  migrate: oneOf('CARILLON_MIGRATE', ['0', '1'], {
    default: '0',
    description: 'With 1, pending migrations are applied at the start; else an old schema ends it.',
  }),
  runsUrl: url('CARILLON_RUNS_URL', { default: 'http://127.0.0.1:7703', description: 'The runs service.' }),
  runsNotAfter: oneOf('CARILLON_RUNS_NOT_AFTER', ['1', '0'], {
    default: '1',
    description:
      'With 0, the runs service at CARILLON_RUNS_URL is one that does not refuse what arrives after not_after; slots without a run then wait for the end of their catch-up window.',
  }),
  runNames: oneOf('CARILLON_RUN_NAMES', ['carillon', 'flyte'], {
    default: 'carillon',
    description:
      "How the runs of slots are named; flyte: as Flyte 2's scheduler does, for a migration beside it.",
  }),
  sharding: oneOf('CARILLON_SHARDING', ['hash', 'project', 'domain'], {
    default: 'hash',
    description: 'By what schedules are dealt out to shards.',
  }),
  shards: text('CARILLON_SHARDS', {
    default: '1',
    description:
      'The shards: under hash how many, 1 to 64; else the projects or domains of each, as in shop,billing;research;*',
  }),
  shardingVersion: integer('CARILLON_SHARDING_VERSION', {
    default: 1,
    min: 1,
    description:
      'To be raised with each change of the two before: the highest version that was ever set is followed by all.',
  }),
  leaseTtlMs: integer('CARILLON_LEASE_TTL_MS', {
    default: 10_000,
    min: 500,
    max: 600_000,
    description: 'How long a lease lasts without renewal.',
  }),
  leaseMarginMs: integer('CARILLON_LEASE_MARGIN_MS', {
    default: 1_000,
    min: 50,
    max: 60_000,
    description: 'How much earlier its holder stops trusting it.',
  }),
  ratePerSecond: decimal('CARILLON_RATE_PER_SECOND', {
    default: 10,
    min: 0,
    max: 1_000_000,
    description: 'Runs created per second; 0 for no limit.',
  }),
  burst: integer('CARILLON_BURST', {
    default: 20,
    min: 1,
    max: 1_000_000,
    description: 'Runs created at once after a pause.',
  }),
  maxBatch: integer('CARILLON_MAX_BATCH', {
    default: 500,
    min: 1,
    max: 500,
    description: 'The most runs in a call.',
  }),
  maxCalls: integer('CARILLON_MAX_CALLS', {
    default: 4,
    min: 1,
    max: 1_000,
    description: 'The most calls at once, for each shard that is led.',
  }),
  maxOutstanding: integer('CARILLON_MAX_OUTSTANDING', {
    default: 10_000,
    min: 1,
    max: 1_000_000,
    description: 'The most slots that are sent and not settled, of each shard that is led.',
  }),
  callTimeoutMs: integer('CARILLON_CALL_TIMEOUT_MS', {
    default: 5_000,
    min: 10,
    max: 60_000,
    description: 'The deadline of a call to the runs service.',
  }),
  catchUpRunsPerSecond: integer('CARILLON_MAX_CATCHUP_RUNS_PER_LOOP', {
    default: 100,
    min: 1,
    max: 10_000_000,
    description:
      'The most missed slots sent in a loop of 1 s, of each shard that is led; the rest stays due.',
  }),
  ledger: oneOf('CARILLON_LEDGER', ['exceptions', 'all'], {
    default: 'exceptions',
    description:
      'What the slot ledger records: slots without a run; all: those that fired as well, with fire time and lateness.',
  }),
  ledgerRetentionDays: integer('CARILLON_LEDGER_RETENTION_DAYS', {
    default: 90,
    min: 2,
    max: 3_650,
    description: 'How long the slot ledger keeps its rows.',
  }),
  breakerThresholdPercent: integer('CARILLON_BREAKER_THRESHOLD_PERCENT', {
    default: 50,
    min: 1,
    max: 100,
    description: 'The share of failed calls at which the circuit breaker opens.',
  }),
  breakerVolume: integer('CARILLON_BREAKER_VOLUME', {
    default: 5,
    min: 1,
    max: 1_000,
    description: 'The fewest calls in its window before it may open.',
  }),
  breakerWindowMs: integer('CARILLON_BREAKER_WINDOW_MS', {
    default: 10_000,
    min: 100,
    max: 600_000,
    description: 'The window in which its calls are counted.',
  }),
  breakerResetMs: integer('CARILLON_BREAKER_RESET_MS', {
    default: 2_000,
    min: 10,
    max: 600_000,
    description: 'How long it stays open before it admits one call.',
  }),
  rampUpMs: integer('CARILLON_RAMP_UP_MS', {
    default: 5_000,
    min: 1,
    max: 600_000,
    description: 'How long the rate takes to come back after it has closed.',
  }),
} satisfies ConfigSchema;

/** The configuration of the scheduler. */
export interface SchedulerConfig extends Config<typeof schedulerSettings> {
  /** This process among its replicas. One that starts under the name of a dead one takes over from it at once. */
  readonly instance: string;
  /** The shards, as the three settings say it together. */
  readonly assignment: Assignment;
}

/**
 * Reads the configuration. `instance` is this process's name unless `CARILLON_INSTANCE` gives another.
 *
 * @throws {ConfigError} with every fault.
 */
export function readSchedulerConfig(
  environment: Readonly<Record<string, string | undefined>>,
  instance: string,
): SchedulerConfig {
  const { sharding, shards, shardingVersion } = schedulerSettings;
  const instanceSetting = text('CARILLON_INSTANCE', {
    default: instance,
    description:
      'The name of this process, unique among those that live; a restart under it takes over at once.',
  });
  const whole = read(environment, { ...schedulerSettings, instance: instanceSetting });
  // On its own as well, so that what is wrong between its settings is told beside the faults of others.
  const part = read(environment, { sharding, shards, shardingVersion });
  const assignment = part instanceof ConfigError ? [] : parseAssignment(part);
  const isFaulty = isFaults(assignment);
  if (whole instanceof ConfigError || isFaulty) {
    throw new ConfigError([
      ...(whole instanceof ConfigError ? whole.faults : []),
      ...(isFaulty ? assignment : []),
    ]);
  }
  return { ...whole, assignment };
}

function read<S extends ConfigSchema>(
  environment: Readonly<Record<string, string | undefined>>,
  schema: S,
): Config<S> | ConfigError {
  try {
    return readConfig(environment, schema);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

function isFaults(parsed: Assignment | readonly string[]): parsed is readonly string[] {
  return Array.isArray(parsed);
}
