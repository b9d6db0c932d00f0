import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { DevState } from '@carillon/cli';
import { RunPhase } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleState } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { createClient, type Transport } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DevStack, devFolder } from '../support/dev-stack.ts';
import { useDatabase } from '../support/postgres.ts';

const database = useDatabase();
const place = await devFolder();
let stack: DevStack;
let urls: DevState['urls'];

beforeAll(async () => {
  stack = new DevStack({ folder: place.folder, databaseUrl: database.url, options: ['--no-examples'] });
  ({ urls } = await stack.ready());
});
afterAll(async () => {
  expect(await stack.stop()).toEqual({ code: 0, signal: null });
  await place.remove();
});

/** A transport of a protocol, closed when the test has ended. */
function transportTo(baseUrl: string, protocol: 'connect' | 'grpc' | 'grpc-web'): Transport {
  const transport = createCarillonTransport({ baseUrl, protocol });
  closers.push(() => transport.close());
  return transport;
}
const closers: (() => void)[] = [];
afterAll(() => {
  for (const close of closers) close();
});

describe.each(['connect', 'grpc', 'grpc-web'] as const)('a schedule created over %s', (protocol) => {
  const id = `tick-${protocol}`;
  const parent = 'projects/first/domains/bell';
  const name = `${parent}/schedules/${id}`;

  it('is stored, fired at its time, executed by the worker, and seen at every step', async () => {
    const schedules = createClient(ScheduleService, transportTo(urls.schedules, protocol));
    const runs = createClient(RunService, transportTo(urls.runs, protocol));
    const stop = new AbortController();
    const watching = runs.watchRuns({ parent, schedule: name }, { signal: stop.signal });

    const { schedule } = await schedules.createSchedule({
      parent,
      scheduleId: id,
      schedule: {
        spec: {
          pattern: { case: 'rate', value: { interval: { seconds: 1n } } },
          run: {
            task: 'command',
            inputs: { content: { case: 'values', value: { command: ['/bin/echo', 'ding', protocol] } } },
          },
          nominalTimeInput: 'slot',
        },
      },
    });
    expect(schedule).toMatchObject({ name, state: ScheduleState.ACTIVE, revision: 1, activeRevision: 1 });
    const createdAt = timestampMs(schedule!.createTime!);

    let succeeded: string | undefined;
    for await (const { run } of watching) {
      if (run === undefined) continue;
      expect(run).toMatchObject({ schedule: name, scheduleUid: schedule?.uid, scheduleRevision: 1 });
      if (run.phase === RunPhase.SUCCEEDED) {
        succeeded = run.name;
        break;
      }
    }
    stop.abort();

    const { run } = await runs.getRun({ name: succeeded ?? '' });
    expect(run?.phase).toBe(RunPhase.SUCCEEDED);
    const nominal = timestampMs(run!.nominalTime!);
    expect(nominal % 1_000).toBe(0);
    expect(nominal).toBeGreaterThan(createdAt);
    // Never early; and on an idle machine not later than a second, which is no measurement but a sign of life.
    const lateness = timestampMs(run!.fireTime!) - nominal;
    expect(lateness).toBeGreaterThanOrEqual(0);
    expect(lateness).toBeLessThan(1_000);
    expect(run?.attempt).toBe(1);
    expect(run?.spec?.inputs?.content.value).toMatchObject({
      slot: new Date(nominal).toISOString().replace('.000Z', 'Z'),
    });
    expect(JSON.stringify(run?.output?.content.value)).toContain(`ding ${protocol}`);

    const page = await runs.listRuns({ parent, filter: `schedule = "${name}"` });
    const slots = page.runs.map(({ nominalTime }) => timestampMs(nominalTime!));
    expect(slots).toContain(nominal);
    // A slot has one run.
    expect(new Set(slots).size).toBe(slots.length);

    const { schedule: seen } = await schedules.getSchedule({ name });
    expect(seen?.status).toMatchObject({ quarantineReason: '', recurrence: expect.stringMatching(/second/) });
    await schedules.deleteSchedule({ name });
  });
});
