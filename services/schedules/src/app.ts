import type { Clock, Entropy } from '@carillon/core/clock.ts';
import { createDatabase, createPool, Notifier } from '@carillon/db';
import { awaitSchema } from '@carillon/db/await-schema.ts';
import type { ScheduleTables } from '@carillon/db/tables/schedule-tables.ts';
import { SCHEDULES_CHANNEL } from '@carillon/db/tables/schedules.ts';
import { REDRIVES_CHANNEL } from '@carillon/db/tables/slot-redrives.ts';
import {
  type Authenticate,
  createCarillonTransport,
  createLogger,
  createServiceServer,
  type Logger,
  RequestValidator,
  systemClock,
  systemEntropy,
} from '@carillon/server';
import type { Transport } from '@connectrpc/connect';
import type { SchedulesConfig } from './config.ts';
import { scheduleRoutes } from './routes.ts';
import { ScheduleStore } from './schedule-store.ts';
import { SlotHistory } from './slot-history.ts';
import { SlotRuns } from './slot-runs.ts';

/** The version that `/livez` tells. */
const VERSION = '0.1.0';

/** What may be replaced, before anything is built. */
export interface SchedulesOverrides {
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Default: the system's. */
  readonly entropy?: Entropy;
  /** Default: JSON lines on standard output, at the configured level. */
  readonly logger?: Logger;
  /** Who calls. Default: everyone is anonymous. */
  readonly authenticate?: Authenticate;
  /** How to reach the RunService. Default: at `runsUrl`. */
  readonly runsTransport?: Transport;
}

/** A running schedules service. */
export interface App {
  /** Where it listens. */
  readonly url: string;
  /** Resolves when the database is there with a schema it can work on; rejects when it can never work on it, or is closed before. */
  readonly ready: Promise<void>;
  /** Lets calls in flight finish, up to the server's drain limit or until the signal aborts, and closes everything. Later calls wait for the same end. */
  close(signal?: AbortSignal): Promise<void>;
}

/** Builds the service and opens its port. It is alive from then on, and ready when {@link App.ready} resolves. */
export async function createApp(config: SchedulesConfig, overrides: SchedulesOverrides = {}): Promise<App> {
  const { clock = systemClock, entropy = systemEntropy } = overrides;
  const logger =
    overrides.logger ??
    createLogger({ service: 'schedules', instance: config.instance, level: config.logLevel });
  const url = config.databaseUrl.reveal();
  const applicationName = `carillon-schedules ${config.instance}`;
  const onError = (error: Error): void => logger.warn({ err: error }, 'a database connection broke');
  const pool = createPool({ url, applicationName, onError, max: config.databaseConnections });
  const notifier = new Notifier({ url, applicationName, onError, clock });
  const runsTransport = createCarillonTransport({ baseUrl: config.runsUrl });
  const closing = new AbortController();

  const slots = new SlotHistory(
    pool,
    new SlotRuns(overrides.runsTransport ?? runsTransport, config.runNames),
    () => notifier.notify(REDRIVES_CHANNEL),
  );
  const store = new ScheduleStore({
    db: createDatabase<ScheduleTables>(pool),
    entropy,
    announce: () => notifier.notify(SCHEDULES_CHANNEL),
  });
  let schemaFits = false;
  const server = createServiceServer({
    name: 'schedules',
    version: VERSION,
    clock,
    entropy,
    logger,
    routes: scheduleRoutes({
      store,
      slots,
      clock,
      validator: new RequestValidator(),
      runRetentionDays: config.runRetentionDays,
    }),
    readiness: {
      database: async () => {
        await pool.query('select 1');
        if (!schemaFits) throw new Error('the schema has not been looked at yet');
      },
    },
    ...(overrides.authenticate === undefined ? {} : { authenticate: overrides.authenticate }),
  });

  const closeDatabase = async (): Promise<void> => {
    closing.abort(new Error('the schedules service is closed'));
    runsTransport.close();
    await notifier.close();
    await pool.end();
  };
  const address = await server.listen(config).catch(async (error: unknown) => {
    await closeDatabase();
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
  }).then(() => {
    schemaFits = true;
  });
  // Whoever waits for it is told; nobody has to.
  ready.catch((error: unknown) => {
    if (!closing.signal.aborted) logger.error({ err: error }, 'the database cannot be used');
  });

  let closed: Promise<void> | undefined;
  return {
    url: address.url,
    ready,
    close(signal) {
      closed ??= server.close(signal).finally(closeDatabase);
      return closed;
    },
  };
}
