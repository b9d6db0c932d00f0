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
import { Balancer } from './balancer.ts';
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
import { Shards } from './shards.ts';
import { createPostgresShardsStore } from './shards-store.ts';
import { Share } from './share.ts';
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
  readonly shards: Shards;
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
      for (const { executor } of shards.terms) {
        if (state === 'closed') executor.rampUp();
        else executor.wake();
      }
    },
  });
  const metrics: SchedulerMetrics = new SchedulerMetrics(registry, () => shards.gauged());
  const target = overrides.target ?? createRunsTarget(transport);
  const bucket = new TokenBucket(clock, {
    ratePerSecond: config.ratePerSecond === 0 ? Number.POSITIVE_INFINITY : config.ratePerSecond,
    burst: config.ratePerSecond === 0 ? Math.max(config.burst, config.maxBatch) : config.burst,
  });
  const timings = new TimingCache();
  const share = new Share();
  const standbyPollMs = Math.min(1_000, config.leaseTtlMs / 4);
  const createScheduler = (
    assignment: Assignment,
    history: readonly Assignment[],
    shard: string,
  ): Scheduler => {
    const of = { assignment, history, shard, owner: config.instance };
    const store = createPostgresStore({ pool, feedPool, ...of, leaseTtlMs: config.leaseTtlMs });
    const common = { store, clock, databaseClock, logger: logger.child({ shard }) };
    return new Scheduler({
      ...common,
      ...of,
      entropy,
      metrics,
      leadership: new Leadership({
        ...common,
        owner: config.instance,
        leaseTtlMs: config.leaseTtlMs,
        leaseMarginMs: config.leaseMarginMs,
        standbyPollMs,
        share,
      }),
      target,
      bucket,
      breaker,
      nameScheme: config.runNames,
      targetKnowsNotAfter: config.runsNotAfter === '1',
      timings,
      settledSlots: createPostgresSettledSlots({
        pool,
        shard,
        scope: scopeOf(assignment, shard),
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
  };
  const shardsStore = createPostgresShardsStore(pool);
  const shards: Shards = new Shards({
    store: shardsStore,
    configured: config.assignment,
    createScheduler,
    bucket,
    breaker,
    databaseClock,
    clock,
    logger,
  });
  const replicas = new Replicas(shardsStore, shards, { instance: config.instance, version: VERSION });
  const balancer = new Balancer({
    store: shardsStore,
    shards,
    replicas,
    share,
    logger,
    handOverWaitMs: 3 * standbyPollMs,
  });
  const listener = new Listener({
    url,
    applicationName,
    channels: [SCHEDULES_CHANNEL, LEASES_CHANNEL, REDRIVES_CHANNEL],
    onListening: () => shards.listening(),
    onHints: (hints) => {
      if (hints.has(LEASES_CHANNEL)) {
        balancer.released().catch((error: unknown) => {
          logger.warn({ err: error }, 'who leads what could not be looked at; the next beat tries again');
        });
      }
      if (hints.has(SCHEDULES_CHANNEL)) shards.changed();
      if (hints.has(REDRIVES_CHANNEL)) shards.redriven();
    },
    onLost: (error) =>
      logger.warn({ err: error }, 'the listening connection was lost; it is being made again'),
    coalesceMs: 1,
    clock,
    entropy,
  });
  const duties = new Duties({
    clock,
    logger,
    pool,
    shards,
    balancer,
    ledgerRetentionDays: config.ledgerRetentionDays,
    replicas,
    clockWatch: new ClockWatch({
      clock,
      databaseClock,
      metrics,
      logger,
      beatMs: BEAT_MS,
      onDoubt: () => shards.doubt(),
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
    routes: schedulerRoutes({
      shards,
      replicas,
      store: shardsStore,
      readGap: (shard, epoch) => readGap(pool, shard, epoch),
    }),
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
    shards.abandon();
    await listener.close();
    breaker.close();
    transport.close();
    await shards.ended();
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
    await shards.start();
    duties.start();
  });
  ready.catch((error: unknown) => {
    if (!closing.signal.aborted) logger.error({ err: error }, 'the scheduler cannot work');
  });

  let closed: Promise<void> | undefined;
  return {
    url: address.url,
    shards,
    ready,
    async release() {
      duties.stop();
      await shards.release();
      await replicas.leave();
    },
    drain: (signal) => shards.drain(signal),
    close(signal) {
      closed ??= server.close(signal).finally(closeRest);
      return closed;
    },
  };
}
