import { createServer, type Server } from 'node:http';
import { create } from '@bufbuild/protobuf';
import {
  GetStatusResponseSchema,
  ReplicaState,
  SchedulerService,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { afterEach, describe, expect, it } from 'vitest';
import { schedulerProbe, serviceProbe } from './readiness-probe.ts';

let server: Server | undefined;
afterEach(() => server?.close());

/** A service that answers `/readyz` like this; its URL. */
async function serviceWith(status: number, body: string): Promise<string> {
  const listening = createServer((request, response) => {
    response.writeHead(request.url === '/readyz' ? status : 404);
    response.end(body);
  });
  server = listening;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const address = listening.address();
  if (typeof address !== 'object' || address === null) throw new Error('no address');
  return `http://127.0.0.1:${address.port}`;
}

const never = new AbortController().signal;

describe('the probe of a service', () => {
  it('names the checks that fail', async () => {
    const failing = [
      { name: 'database', reason: 'connection refused' },
      { name: 'feed', reason: 'behind' },
    ];
    const url = await serviceWith(503, JSON.stringify({ failing }));
    expect(await serviceProbe(url)(never)).toBe('database: connection refused; feed: behind');
  });

  it('says what was answered when that names nothing', async () => {
    expect(await serviceProbe(await serviceWith(502, '<html>'))(never)).toBe('answers 502');
  });
});

describe('the probe of a scheduler', () => {
  const own = { instance: 'dev', url: 'http://127.0.0.1:7702' };
  const other = { instance: 'blue', url: 'http://127.0.0.1:1', state: ReplicaState.LEADING };

  function client(state: ReplicaState | ConnectError, others: readonly (typeof other)[] = []) {
    const transport = createRouterTransport(({ service }) => {
      service(SchedulerService, {
        getStatus: () => {
          if (state instanceof ConnectError) throw state;
          const replica = { ...own, state };
          return create(GetStatusResponseSchema, { replica, replicas: [replica, ...others] });
        },
      });
    });
    return createClient(SchedulerService, transport);
  }

  it.each([
    [ReplicaState.LEADING, [], undefined],
    [ReplicaState.STARTING, [], 'loads the schedules'],
    [ReplicaState.STANDBY_READY, [], 'waits for the lease'],
    [ReplicaState.STANDBY_READY, [other], 'stands by: blue at http://127.0.0.1:1 leads'],
    [ReplicaState.DRAINING, [], 'hands over'],
  ])('in state %i beside %j', async (state, others, reason) => {
    expect(await schedulerProbe(await serviceWith(200, '{}'), client(state, others))(never)).toBe(reason);
  });

  it('asks no further when it is not ready, and tells an error', async () => {
    const unready = await serviceWith(
      503,
      JSON.stringify({ failing: [{ name: 'database', reason: 'away' }] }),
    );
    const refusing = client(new ConnectError('no such column', Code.Internal));
    expect(await schedulerProbe(unready, refusing)(never)).toBe('database: away');
    server?.close();
    expect(await schedulerProbe(await serviceWith(200, '{}'), refusing)(never)).toBe(
      'does not say what it does: no such column',
    );
  });
});
