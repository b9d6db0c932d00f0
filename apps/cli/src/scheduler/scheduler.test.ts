import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  GetStatusResponseSchema,
  type HandOverRequest,
  HandOverResponseSchema,
  ReplicaState,
  SchedulerService,
  ShardingStrategy,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { runCommandLine } from '../host-under-test.ts';

const blue = {
  instance: 'blue',
  shard: 'default',
  state: ReplicaState.LEADING,
  url: 'http://127.0.0.1:1',
  version: '0.1.0',
};
const green = { ...blue, instance: 'green', state: ReplicaState.STANDBY_READY, url: 'http://127.0.0.1:2' };

const twoShards = {
  version: 3,
  strategy: ShardingStrategy.PROJECT,
  shards: [
    { name: 'project-billing', ids: ['billing', 'shop'], leader: 'blue', epoch: 4n },
    { name: 'project-*', ids: ['*'] },
  ],
};

function scheduler(replicas = [blue, green], refusal?: ConnectError, assignment?: typeof twoShards) {
  const requests: HandOverRequest[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(SchedulerService, {
      getStatus: () =>
        create(GetStatusResponseSchema, {
          replica: replicas[0]!,
          replicas,
          ...(assignment
            ? { assignment, leaders: [{ shard: 'project-billing', schedules: 5n, breakerState: 'open' }] }
            : {}),
          leader: {
            epoch: 7n,
            schedules: 12n,
            quarantined: 1n,
            breakerState: 'closed',
            tokens: 19.7,
            frontierTime: timestampFromMs(0),
          },
        }),
      handOver: (request) => {
        requests.push(request);
        if (refusal) throw refusal;
        const gap = durationFromMs(12);
        const shards = (assignment?.shards ?? []).map(({ name }) => ({
          shard: name,
          leader: 'green',
          epoch: 2n,
          gap,
        }));
        return create(HandOverResponseSchema, { leader: 'green', epoch: 8n, gap, shards });
      },
    });
  });
  return { transport, requests };
}

describe('scheduler status', () => {
  it('shows the replicas, and what the leader works on', async () => {
    const { stdout } = await runCommandLine(['scheduler', 'status'], scheduler().transport);
    expect(stdout).toMatch(/● leading +blue +0\.1\.0 +http:\/\/127\.0\.0\.1:1/);
    expect(stdout).toMatch(/◌ standby-ready +green/);
    expect(stdout).toMatch(/schedules +12, 1 quarantined/);
    expect(stdout).toMatch(/tokens +19\n/);
  });

  it('shows shards, who leads them, and what is known of their work', async () => {
    const replicas = [
      { ...blue, shards: ['project-billing'], takesPart: true },
      { ...green, shards: [], takesPart: false },
    ];
    const { transport } = scheduler(replicas, undefined, twoShards);
    const { stdout } = await runCommandLine(['scheduler', 'status'], transport);
    expect(stdout).toMatch(/● leading +blue +1 of 2 +0\.1\.0/);
    expect(stdout).toMatch(/◌ stepped back +green +0 of 2 +0\.1\.0/);
    expect(stdout).toContain('2 shards by project, version 3');
    expect(stdout).toMatch(/project-billing +billing shop +blue +4 +5 /);
    expect(stdout).toMatch(/project-\* +\* +nobody/);
    expect(stdout).toMatch(/breaker +open/);
  });
});

describe('scheduler handover', () => {
  it('says who leads now, and how long nobody did', async () => {
    const { transport, requests } = scheduler();
    const { stdout, exitCode } = await runCommandLine(['scheduler', 'handover', '--wait', '3s'], transport);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('green leads now, with epoch 8, after blue; nobody led for 12 ms');
    expect(requests).toMatchObject([{ force: false, wait: { seconds: 3n } }]);
  });

  it('tells of each shard, and asks which replica if several lead', async () => {
    const { transport } = scheduler([blue, green], undefined, twoShards);
    const { stdout } = await runCommandLine(['scheduler', 'handover'], transport);
    expect(stdout).toContain(
      'project-billing: green leads now, with epoch 2, after blue; nobody led for 12 ms\n',
    );
    expect(stdout).toContain('project-*: green leads now');
    const grey = { ...blue, instance: 'grey', url: 'http://127.0.0.1:3' };
    const several = await runCommandLine(
      ['scheduler', 'handover'],
      scheduler([green, blue, grey], undefined, twoShards).transport,
    );
    expect(several.exitCode).toBe(4);
    expect(several.stderr).toContain('--scheduler-server http://127.0.0.1:3');
  });

  it('fails without a leader, and when there is no standby', async () => {
    const leaderless = await runCommandLine(['scheduler', 'handover'], scheduler([green]).transport);
    expect(leaderless.exitCode).toBe(4);
    expect(leaderless.stderr).toContain('no replica leads');
    const refusal = new ConnectError('no replica is ready to take over', Code.FailedPrecondition);
    const refused = await runCommandLine(['scheduler', 'handover'], scheduler([blue], refusal).transport);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain('no replica is ready');
  });
});
