import { runCommandLine } from '@carillon/cli/host-under-test.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { CronDialect } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { createApp as createRuns, readRunsConfig } from '@carillon/runs';
import { createRunsTarget } from '@carillon/scheduler/runs-target.ts';
import { createLogger } from '@carillon/server';
import { createConnectTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import { startScheduler, startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

const database = useDatabase();

/** The runs service in this process; `await using` closes it. */
async function startRuns() {
  const config = readRunsConfig({ DATABASE_URL: database.url, CARILLON_PORT: '0' }, 'runs-under-test');
  const logger = createLogger({ service: 'runs', instance: 'test', level: 'error' });
  const app = await createRuns(config, { logger });
  await app.ready;
  return { ...app, [Symbol.asyncDispose]: () => app.close(AbortSignal.abort()) };
}

test('the command line explains what three services made of a slot', async () => {
  await using runs = await startRuns();
  const runsTransport = createConnectTransport({ baseUrl: runs.url, httpVersion: '1.1' });
  await using schedules = await startSchedules(database.url, { runsTransport });
  await using _scheduler = await startScheduler(database.url, createRunsTarget(runsTransport));
  const carillon = async (...commandLine: string[]) => {
    const transport = createConnectTransport({ baseUrl: schedules.url, httpVersion: '1.1' });
    const result = await runCommandLine(['schedules', ...commandLine], transport);
    expect(result.stderr).toBe('');
    return result.stdout;
  };
  const { schedule } = await schedules.client.createSchedule({
    parent: 'projects/p/domains/d',
    scheduleId: 'tick',
    schedule: {
      spec: {
        pattern: {
          case: 'cron',
          value: { expression: '* * * * * *', dialect: CronDialect.SECONDS, timeZone: 'Asia/Tokyo' },
        },
        run: { task: 'test.tick' },
      },
    },
  });
  const { name } = schedule!;

  const fired = await until(async () => {
    const sentence = await carillon('explain', name);
    return sentence.startsWith('It ran at ') && sentence;
  });
  expect(fired).toMatch(
    /^It ran at \d\d:\d\d(:\d\d)? on \d+ \w+ \(Asia\/Tokyo\): it was fired \d+ ms after it fell due\. The run is p\/d\/r[a-z2-7]{26}\.\n$/,
  );

  await schedules.client.pauseSchedule({ name, reason: 'maintenance' });
  const skipped = await until(async () => {
    const sentence = await carillon('explain', name);
    return sentence.startsWith('It did not run') && sentence;
  });
  expect(skipped).toMatch(
    /: the schedule was paused by anonymous at \d\d:\d\d(:\d\d)?( on \d+ \w+)? \(“maintenance”\)\.\n$/,
  );
  expect(await carillon('slots', name, '--outcome', 'fired')).toMatch(/ fired +\d+ ms +r[a-z2-7]{26}\n/);
  expect(await carillon('redrive', name, '--from', '-1h')).toBe('no dead slots\n');
});
