import { durationMs } from '@bufbuild/protobuf/wkt';
import { useDatabase } from '@carillon/db/test/database.ts';
import { ReplicaState, SchedulerService } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import { JournalTarget } from '../support/journal-target.ts';
import { startScheduler, startSchedules } from '../support/services.ts';
import { until } from '../support/until.ts';

const database = useDatabase();
const parent = 'projects/relay/domains/test';

const operator = (url: string) =>
  createClient(SchedulerService, createConnectTransport({ baseUrl: url, httpVersion: '1.1' }));

test('a hand-over moves the lease to the standby and back, and no slot is lost or doubled', async () => {
  const target = new JournalTarget();
  await using schedules = await startSchedules(database.url);
  const rate = { case: 'rate', value: { interval: { seconds: 1n } } } as const;
  for (let i = 0; i < 20; i++) {
    const schedule = { spec: { pattern: rate, run: { task: 'test.relay' } } };
    await schedules.client.createSchedule({ parent, scheduleId: `relay-${i}`, schedule });
  }
  await using blue = await startScheduler(database.url, target, 'blue');
  await until(() => blue.shards.state === 'LEADING');
  await target.reached(20);

  const lonely = await operator(blue.url).handOver({}).catch(ConnectError.from);
  expect(lonely).toMatchObject({ code: Code.FailedPrecondition });

  await using green = await startScheduler(database.url, target, 'green');
  await until(() => green.shards.state === 'STANDBY_READY');
  const { leader } = await operator(blue.url).getStatus({});
  expect(leader).toMatchObject({ schedules: 20n, breakerState: 'closed' });
  const refused = await operator(green.url).handOver({}).catch(ConnectError.from);
  expect(refused).toMatchObject({ code: Code.FailedPrecondition });
  expect(String(refused)).toContain(blue.url);
  await until(async () => {
    const states = (await operator(blue.url).getStatus({})).replicas.map(({ instance, state }) => [
      instance,
      state,
    ]);
    return (
      JSON.stringify(states) ===
      JSON.stringify([
        ['blue', ReplicaState.LEADING],
        ['green', ReplicaState.STANDBY_READY],
      ])
    );
  });

  const gaps: number[] = [];
  for (let round = 0; round < 6; round++) {
    const [from, to] = round % 2 === 0 ? [blue, green] : [green, blue];
    await target.reached(target.runs.size + 7);
    const { leader: successor, gap } = await operator(from.url).handOver({});
    expect(successor).toBe(round % 2 === 0 ? 'green' : 'blue');
    gaps.push(durationMs(gap!));
    await until(() => to.shards.state === 'LEADING');
    await until(() => from.shards.state === 'STANDBY_READY');
    // A leader looks for its successor in the database, where each says once a second what it does.
    await until(async () => {
      const { replicas: all } = await operator(to.url).getStatus({});
      return all.filter(({ state }) => state === ReplicaState.STANDBY_READY).length === 1;
    });
  }
  await target.reached(target.runs.size + 20);

  for (let i = 0; i < 20; i++) {
    const secs = target.nominalSecs(`relay-${i}`);
    const first = secs[0]!;
    // The last second may be under way.
    expect(secs).toEqual(secs.map((_, index) => first + index));
  }
  expect(gaps).toHaveLength(6);
});
