import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  GetStatusResponseSchema,
  type HandOverRequest,
  HandOverResponseSchema,
  ReplicaState,
  SchedulerService,
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

function scheduler(replicas = [blue, green], refusal?: ConnectError) {
  const requests: HandOverRequest[] = [];
  const transport = createRouterTransport(({ service }) => {
    service(SchedulerService, {
      getStatus: () =>
        create(GetStatusResponseSchema, {
          replica: replicas[0]!,
          replicas,
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
        return create(HandOverResponseSchema, { leader: 'green', epoch: 8n, gap: durationFromMs(12) });
      },
    });
  });
  return { transport, requests };
}

describe('scheduler status', () => {
  it('shows the replicas, and what the leader works on', async () => {
    const { stdout } = await runCommandLine(['scheduler', 'status'], scheduler().transport);
    expect(stdout).toMatch(/● leading +blue +default +0\.1\.0 +http:\/\/127\.0\.0\.1:1/);
    expect(stdout).toMatch(/◌ standby-ready +green/);
    expect(stdout).toMatch(/schedules +12, 1 quarantined/);
    expect(stdout).toMatch(/tokens +19\n/);
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
