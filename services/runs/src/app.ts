import type { Clock, Entropy } from '@carillon/core/clock.ts';
import { createDatabase, createPool, Listener, Notifier } from '@carillon/db';
import { awaitSchema } from '@carillon/db/await-schema.ts';
import { RUNS_READY_CHANNEL } from '@carillon/db/tables/ready-runs.ts';
import { RUNS_CHANGED_CHANNEL, type RunTables } from '@carillon/db/tables/runs.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import {
  type Authenticate,
  createLogger,
  createServiceServer,
  type Logger,
  RequestValidator,
  systemClock,
  systemEntropy,
} from '@carillon/server';
import { Registry } from 'prom-client';
import type { RunsConfig } from './config.ts';
import { Dispatcher } from './dispatcher.ts';
import { Duties } from './duties.ts';
import { Reaper } from './reaper.ts';
import { runRoutes } from './routes.ts';
import { RunCompleter } from './run-completer.ts';
import { RunCreator } from './run-creator.ts';
import { RunFeed } from './run-feed.ts';
import { RunHints } from './run-hints.ts';
import { RunMetrics } from './run-metrics.ts';

/** The version that `/livez` tells. */
const VERSION = '0.1.0';

/** What may be replaced, before anything is built. */
export interface RunsOverrides {
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Default: the system's. */
  readonly entropy?: Entropy;
  /** Default: JSON lines on standard output, at the configured level. */
  readonly logger?: Logger;
  /** Who calls. Default: everyone is anonymous. */
  readonly authenticate?: Authenticate;
}

/** A running runs service. */
export interface App {
  /** Where it listens. */
  readonly url: string;
  /** Resolves when the database is there with a schema it can work on; rejects when it can never work on it, or is closed before. */
  readonly ready: Promise<void>;
  /** Lets calls in flight finish, up to the server's drain limit or until the signal aborts, and closes everything. Later calls wait for the same end. */
  close(signal?: AbortSignal): Promise<void>;
}

/** Builds the service and opens its port. It is alive from then on, and ready when {@link App.ready} resolves. */
export async function createApp(config: RunsConfig, overrides: RunsOverrides = {}): Promise<App> {
  const { clock = systemClock, entropy = systemEntropy } = overrides;
  const { leaseTtlMs, retentionDays } = config;
  const logger =
    overrides.logger ?? createLogger({ service: 'runs', instance: config.instance, level: config.logLevel });
  const url = config.databaseUrl.reveal();
  const applicationName = `carillon-runs ${config.instance}`;
  const onError = (error: Error): void => logger.warn({ err: error }, 'a database connection broke');
  const pool = createPool({ url, applicationName, onError, max: config.databaseConnections });
  const db = createDatabase<RunTables>(pool);
  const notifier = new Notifier({ url, applicationName, onError, clock });

  const registry = new Registry();
  const metrics = new RunMetrics(registry);
  const hints = new RunHints(notifier);
  const dispatcher = new Dispatcher({ db, clock, entropy, hints, metrics, logger, leaseTtlMs });
  const feed = new RunFeed({ db, clock, logger });
  const reaper = new Reaper({ db, clock, entropy, hints, metrics, logger, leaseTtlMs });
  const duties = new Duties({ db, clock, reaper, hints, metrics, logger, retentionDays, leaseTtlMs });
  const listener = new Listener({
    url,
    applicationName,
    channels: [RUNS_READY_CHANNEL, RUNS_CHANGED_CHANNEL],
    onListening: () => {
      dispatcher.wake();
      feed.hint();
    },
    onHints: (announced) => {
      const queues = announced.get(RUNS_READY_CHANNEL);
      if (queues !== undefined) dispatcher.wake(queues === 'many' ? undefined : queues);
      if (announced.has(RUNS_CHANGED_CHANNEL)) feed.hint();
    },
    onLost: (error) => {
      logger.warn({ err: error }, 'the listening connection was lost; it is being made again');
      feed.interrupt(error);
    },
    coalesceMs: 2,
    clock,
    entropy,
  });

  let schemaFits = false;
  const server = createServiceServer({
    name: 'runs',
    version: VERSION,
    clock,
    entropy,
    logger,
    registry,
    routes: runRoutes({
      db,
      clock,
      entropy,
      creator: new RunCreator({ db, clock, hints, metrics, retentionDays }),
      completer: new RunCompleter({ db, clock, hints, metrics }),
      dispatcher,
      feed,
      hints,
      metrics,
      validator: new RequestValidator(),
      retentionDays,
      leaseTtlMs,
    }),
    selfChecked: [RunService.method.createRun, RunService.method.batchCreateRuns],
    readiness: {
      database: async () => {
        await pool.query('select 1');
        if (!schemaFits) throw new Error('the schema has not been looked at yet');
      },
    },
    ...(overrides.authenticate === undefined ? {} : { authenticate: overrides.authenticate }),
  });

  const closing = new AbortController();
  const closeRest = async (): Promise<void> => {
    closing.abort(new Error('the runs service is closed'));
    await duties.stop();
    await listener.close();
    await notifier.close();
    await pool.end();
  };
  const address = await server.listen(config).catch(async (error: unknown) => {
    await closeRest();
    throw error;
  });
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
    await listener.start();
    await duties.start();
    schemaFits = true;
  });
  ready.catch((error: unknown) => {
    if (!closing.signal.aborted) logger.error({ err: error }, 'the database cannot be used');
  });

  let closed: Promise<void> | undefined;
  return {
    url: address.url,
    ready,
    close(signal) {
      closed ??= server.close(signal).finally(closeRest);
      return closed;
    },
  };
}
