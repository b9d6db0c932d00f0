import { type Assignment, scopeOf } from '@carillon/core/assignment.ts';
import type { Clock, Entropy } from '@carillon/core/clock.ts';
import { TokenBucket } from '@carillon/core/token-bucket.ts';
import { createPool, Listener } from '@carillon/db';
import { awaitSchema } from '@carillon/db/await-schema.ts';
import { LEASES_CHANNEL, readGap } from '@carillon/db/tables/scheduler-leases.ts';
import { SCHEDULES_CHANNEL } from '@carillon/db/tables/schedules.ts';
import { REDRIVES_CHANNEL } from '@carillon/db/tables/slot-redrives.ts';
import {
  createCarillonTransport,
  createLogger,
  createServiceServer,
  type Logger,
  systemClock,
  systemEntropy,
} from '@carillon/server';
import { Registry } from 'prom-client';
import { isServiceFailure } from './answer.ts';
import { OpossumBreaker } from './breaker.ts';
import { ClockWatch } from './clock-watch.ts';
import type { SchedulerConfig } from './config.ts';
import { DatabaseClock } from './database-clock.ts';
import { BEAT_MS, Duties } from './duties.ts';
import { Leadership } from './leadership.ts';
import { SchedulerMetrics } from './metrics.ts';
import { createPostgresStore } from './postgres-store.ts';
import { Replicas } from './replicas.ts';
import { schedulerRoutes } from './routes.ts';
import { CallFailedError, createRunsTarget, type RunsTarget } from './runs-target.ts';
import { Scheduler } from './scheduler.ts';
import { createPostgresSettledSlots } from './settled-slots-store.ts';
import { TimingCache } from './timing-cache.ts';

/** The version that `/livez` tells. */
const VERSION = '0.1.0';

/** The longest read of the feed: everything, with millions of schedules. */
const FEED_READ_LIMIT_MS = 300_000;

/** What may be replaced, before anything is built. */
export interface SchedulerOverrides {
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Default: the system's. */
  readonly entropy?: Entropy;
  /** Default: JSON lines on standard output, at the configured level. */
  readonly logger?: Logger;
  /** Where runs are created. Default: the RunService at `runsUrl`. */
  readonly target?: RunsTarget;
}

/** A running scheduler. */
export interface App {
  /** Where it listens. */
  readonly url: string;
  readonly scheduler: Scheduler;
  /** Resolves when the database is there with a schema it can work on; rejects when it can never work on it, or is closed before. */
  readonly ready: Promise<void>;
  /** Sends nothing new, writes down what is settled, and hands the lease over. */
  release(): Promise<void>;
  /** Waits for the answers of what is in flight. */
  drain(signal: AbortSignal): Promise<void>;
  /** Closes everything. After `release` and `drain`; without them it is an abrupt end, which loses nothing either. */
  close(signal?: AbortSignal): Promise<void>;
}

/** Builds the scheduler and opens its port. It contends for leadership as soon as the database is there. */
export async function createApp(config: SchedulerConfig, overrides: SchedulerOverrides = {}): Promise<App> {
  const { clock = systemClock, entropy = systemEntropy } = overrides;
  const logger =
    overrides.logger ??
    createLogger({ service: 'scheduler', instance: config.instance, level: config.logLevel });
  const url = config.databaseUrl.reveal();
  const applicationName = `carillon-scheduler ${config.instance}`;
  const onError = (error: Error): void => logger.warn({ err: error }, 'a database connection broke');
  const pool = createPool({
    url,
    applicationName,
    onError,
    // A frozen holder must not block its successor: what it began ends before its lease does.
    statementTimeoutMs: config.leaseTtlMs - config.leaseMarginMs,
    transactionTimeoutMs: config.leaseTtlMs - config.leaseMarginMs,
  });
  // A read of everything may take longer than a lease; it locks nothing.
  const feedPool = createPool({
    url,
    applicationName,
    onError,
    max: 2,
    transactionTimeoutMs: FEED_READ_LIMIT_MS,
  });
  const registry = new Registry();
  const databaseClock = new DatabaseClock(clock);
  const assignment: Assignment = { version: 1, strategy: 'hash', shards: [{ name: config.shard, ids: [] }] };
  const scope = scopeOf(assignment, config.shard);
  const store = createPostgresStore({
    pool,
    feedPool,
    shard: config.shard,
    version: assignment.version,
    scope,
    owner: config.instance,
    leaseTtlMs: config.leaseTtlMs,
  });
  const leadership = new Leadership({
    store,
    clock,
    databaseClock,
    logger,
    shard: config.shard,
    owner: config.instance,
    leaseTtlMs: config.leaseTtlMs,
    leaseMarginMs: config.leaseMarginMs,
    standbyPollMs: Math.min(1_000, config.leaseTtlMs / 4),
  });
  const transport = createCarillonTransport({
    baseUrl: config.runsUrl,
    defaultTimeoutMs: config.callTimeoutMs,
    writeMaxBytes: 16 * 1024 * 1024,
  });
  const breaker = new OpossumBreaker({
    errorThresholdPercentage: config.breakerThresholdPercent,
    volumeThreshold: config.breakerVolume,
    windowMs: config.breakerWindowMs,
    resetTimeoutMs: config.breakerResetMs,
    isFailure: (error) => error instanceof CallFailedError && isServiceFailure(error.refused),
    onState: (state) => {
      logger.warn({ state }, 'the circuit breaker changed its state');
      if (state === 'closed') scheduler.term?.executor.rampUp();
      else scheduler.term?.executor.wake();
    },
  });
  const metrics: SchedulerMetrics = new SchedulerMetrics(registry, () => scheduler.gauged());
  const scheduler: Scheduler = new Scheduler({
    store,
    clock,
    entropy,
    databaseClock,
    logger,
    metrics,
    leadership,
    target: overrides.target ?? createRunsTarget(transport),
    bucket: new TokenBucket(clock, {
      ratePerSecond: config.ratePerSecond === 0 ? Number.POSITIVE_INFINITY : config.ratePerSecond,
      burst: config.ratePerSecond === 0 ? Math.max(config.burst, config.maxBatch) : config.burst,
    }),
    breaker,
    assignment,
    history: [assignment],
    shard: config.shard,
    owner: config.instance,
    nameScheme: config.runNames,
    timings: new TimingCache(),
    settledSlots: createPostgresSettledSlots({
      pool,
      shard: config.shard,
      scope,
      owner: config.instance,
      ledgerRetentionDays: config.ledgerRetentionDays,
    }),
    recordFired: config.ledger === 'all',
    limits: {
      maxBatch: config.maxBatch,
      maxBatchBytes: 3 * 1024 * 1024,
      maxCalls: config.maxCalls,
      maxOutstanding: config.maxOutstanding,
      callTimeoutMs: config.callTimeoutMs,
      catchUpRunsPerSecond: config.catchUpRunsPerSecond,
      rampUpMs: config.rampUpMs,
    },
  });
  const listener = new Listener({
    url,
    applicationName,
    channels: [SCHEDULES_CHANNEL, LEASES_CHANNEL, REDRIVES_CHANNEL],
    onListening: () => scheduler.listening(),
    onHints: (hints) => {
      if (hints.has(LEASES_CHANNEL)) leadership.wake();
      if (hints.has(SCHEDULES_CHANNEL)) scheduler.changed();
      if (hints.has(REDRIVES_CHANNEL)) scheduler.redriven();
    },
    onLost: (error) =>
      logger.warn({ err: error }, 'the listening connection was lost; it is being made again'),
    coalesceMs: 1,
    clock,
    entropy,
  });
  const replicas = new Replicas(pool, scheduler, {
    instance: config.instance,
    shard: config.shard,
    version: VERSION,
  });
  const duties = new Duties({
    clock,
    logger,
    pool,
    scheduler,
    ledgerRetentionDays: config.ledgerRetentionDays,
    replicas,
    clockWatch: new ClockWatch({
      clock,
      databaseClock,
      metrics,
      logger,
      beatMs: BEAT_MS,
      onDoubt: () => leadership.doubt(),
    }),
  });

  let schemaFits = false;
  const server = createServiceServer({
    name: 'scheduler',
    version: VERSION,
    clock,
    entropy,
    logger,
    registry,
    routes: schedulerRoutes({ scheduler, replicas, readGap: (epoch) => readGap(pool, config.shard, epoch) }),
    readiness: {
      database: async () => {
        await pool.query('select 1');
        if (!schemaFits) throw new Error('the schema has not been looked at yet');
      },
    },
  });

  const closing = new AbortController();
  const closeRest = async (): Promise<void> => {
    closing.abort(new Error('the scheduler is closed'));
    duties.stop();
    scheduler.abandon();
    await listener.close();
    breaker.close();
    transport.close();
    await scheduler.ended();
    await Promise.all([pool.end(), feedPool.end()]);
  };
  const address = await server.listen(config).catch(async (error: unknown) => {
    await closeRest();
    throw error;
  });
  replicas.listensAt(address.url);
  const ready = awaitSchema({
    url,
    pool,
    migrate: config.migrate === '1',
    clock,
    entropy,
    signal: closing.signal,
    log: (line, error) =>
      logger[error === undefined ? 'info' : 'warn'](error === undefined ? {} : { err: error }, line),
  }).then(async () => {
    schemaFits = true;
    await listener.start();
    scheduler.start();
    duties.start();
  });
  ready.catch((error: unknown) => {
    if (!closing.signal.aborted) logger.error({ err: error }, 'the scheduler cannot work');
  });

  let closed: Promise<void> | undefined;
  return {
    url: address.url,
    scheduler,
    ready,
    async release() {
      duties.stop();
      await scheduler.release();
      await replicas.leave();
    },
    drain: (signal) => scheduler.drain(signal),
    close(signal) {
      closed ??= server.close(signal).finally(closeRest);
      return closed;
    },
  };
}
