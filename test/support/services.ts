import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createApp as createScheduler, readSchedulerConfig } from '@carillon/scheduler';
import type { SchedulerOverrides } from '@carillon/scheduler/app.ts';
import type { RunsTarget } from '@carillon/scheduler/runs-target.ts';
import { createApp as createSchedules, readSchedulesConfig } from '@carillon/schedules';
import type { SchedulesOverrides } from '@carillon/schedules/app.ts';
import { createLogger } from '@carillon/server';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';

/** The environment of a service under test. */
function environment(databaseUrl: string, more: Record<string, string>): Record<string, string> {
  return { DATABASE_URL: databaseUrl, CARILLON_PORT: '0', ...more };
}

const level = process.env.TEST_LOG_LEVEL === 'debug' ? 'debug' : 'error';

/** A schedules service in this process; `await using` closes it. */
export async function startSchedules(
  databaseUrl: string,
  overrides: SchedulesOverrides = {},
): Promise<AsyncDisposable & { readonly url: string; readonly client: Client<typeof ScheduleService> }> {
  const app = await createSchedules(
    readSchedulesConfig(environment(databaseUrl, {}), 'schedules-under-test'),
    {
      logger: createLogger({ service: 'schedules', instance: 'test', level }),
      ...overrides,
    },
  );
  await app.ready;
  return {
    url: app.url,
    client: createClient(ScheduleService, createConnectTransport({ baseUrl: app.url, httpVersion: '1.1' })),
    [Symbol.asyncDispose]: () => app.close(AbortSignal.abort()),
  };
}

/** A scheduler in this process, without limits on its rate unless `more` sets them. */
export async function startScheduler(
  databaseUrl: string,
  target: RunsTarget,
  instance = 'scheduler-under-test',
  more: Record<string, string> = {},
  overrides: SchedulerOverrides = {},
): Promise<AsyncDisposable & Awaited<ReturnType<typeof createScheduler>>> {
  const config = readSchedulerConfig(
    environment(databaseUrl, {
      CARILLON_RATE_PER_SECOND: '0',
      CARILLON_MAX_CATCHUP_RUNS_PER_LOOP: '100000',
      CARILLON_LEASE_TTL_MS: '2000',
      CARILLON_LEASE_MARGIN_MS: '200',
      ...more,
    }),
    instance,
  );
  const app = await createScheduler(config, {
    target,
    logger: createLogger({ service: 'scheduler', instance, level }),
    ...overrides,
  });
  try {
    await app.ready;
  } catch (error) {
    await app.close(AbortSignal.abort());
    throw error;
  }
  return { ...app, [Symbol.asyncDispose]: () => app.close(AbortSignal.abort()) };
}
