import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  CronSchema,
  type ScheduleSpec,
  ScheduleSpecSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createLogger, Secret } from '@carillon/server';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import type pg from 'pg';
import { type App, createApp, type SchedulesOverrides } from './app.ts';

/** A schedules service on a test's database, and callers of it. */
export interface ServiceUnderTest extends AsyncDisposable {
  readonly app: App;
  readonly url: string;
  /** Calls it over Connect, in binary. */
  readonly client: Client<typeof ScheduleService>;
  /** Calls it over Connect, in JSON. */
  readonly jsonClient: Client<typeof ScheduleService>;
  /** Calls it over gRPC. */
  readonly grpcClient: Client<typeof ScheduleService>;
}

/** Where the tests' schedules live. */
export const PARENT = 'projects/p/domains/d';

/** For how long its runs are kept. */
export const RUN_RETENTION_DAYS = 90;

/** Starts a service; `await using` closes it. */
export async function startSchedules(
  database: { readonly url: string },
  overrides: SchedulesOverrides = {},
): Promise<ServiceUnderTest> {
  const app = await createApp(
    {
      databaseUrl: new Secret(database.url),
      host: '127.0.0.1',
      port: 0,
      logLevel: 'info',
      databaseConnections: 10,
      runsUrl: 'http://127.0.0.1:9',
      runNames: 'carillon',
      runRetentionDays: RUN_RETENTION_DAYS,
      migrate: '0',
      instance: 'test-1',
    },
    { logger: createLogger({ service: 'schedules', instance: 'test-1', level: 'error' }), ...overrides },
  );
  await app.ready;
  const { url } = app;
  const connect = { baseUrl: url, httpVersion: '1.1' } as const;
  return {
    app,
    url,
    client: createClient(ScheduleService, createConnectTransport(connect)),
    jsonClient: createClient(ScheduleService, createConnectTransport({ ...connect, useBinaryFormat: false })),
    grpcClient: createClient(ScheduleService, createGrpcTransport({ baseUrl: url })),
    [Symbol.asyncDispose]: () => app.close(AbortSignal.abort()),
  };
}

/** A spec that fires every hour, with changes. */
export function specOf(changes: MessageInitShape<typeof ScheduleSpecSchema> = {}): ScheduleSpec {
  return create(ScheduleSpecSchema, {
    pattern: { case: 'cron', value: create(CronSchema, { expression: '0 * * * *' }) },
    run: create(RunSpecSchema, { task: 'reports.hourly' }),
    ...changes,
  });
}

/** The error that a call is refused with. An Error if it is not refused, or not in this way. */
export async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  const outcome = await call.then(
    () => new Error('the call was not refused'),
    (error: unknown) => error,
  );
  if (outcome instanceof ConnectError && outcome.code !== Code.Unknown) return outcome;
  throw outcome;
}

/** A fingerprint of all rows of all tables, by which a test sees that nothing was written. */
export async function fingerprint(pool: pg.Pool): Promise<string> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c
     where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace order by 1`,
  );
  const hashes: string[] = [];
  for (const { name } of tables) {
    const { rows } = await pool.query<{ hash: string }>(
      `select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as hash from ${name} t`,
    );
    hashes.push(`${name}=${rows[0]?.hash}`);
  }
  return hashes.join('\n');
}
