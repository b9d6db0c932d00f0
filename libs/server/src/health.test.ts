import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '@carillon/gen/grpc/health/v1/health_pb.ts';
import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { describe, expect, test } from 'vitest';
import { startServer } from './server-under-test.ts';

describe('Check', () => {
  test.each([
    '',
    'carillon.run.v1.RunService',
    'carillon.schedule.v1.ScheduleService',
    'grpc.health.v1.Health',
  ])('knows %j', async (service) => {
    await using target = await startServer();
    const client = createClient(Health, createGrpcTransport({ baseUrl: target.url }));
    expect((await client.check({ service })).status).toBe(ServingStatus.SERVING);
  });

  test('refuses a service that is not here with NOT_FOUND', async () => {
    await using target = await startServer();
    const client = createClient(Health, createGrpcTransport({ baseUrl: target.url }));
    await expect(client.check({ service: 'carillon.Nothing' })).rejects.toThrow('[not_found]');
  });

  test('follows readiness', async () => {
    let broken = true;
    const database = () => {
      if (broken) throw new Error('away');
    };
    await using target = await startServer({ readiness: { database } });
    const client = createClient(Health, createGrpcTransport({ baseUrl: target.url }));
    expect((await client.check({})).status).toBe(ServingStatus.NOT_SERVING);
    broken = false;
    expect((await client.check({})).status).toBe(ServingStatus.SERVING);
  });
});

describe('Watch', () => {
  test('tells the status at once, and the drain when it comes', async () => {
    await using target = await startServer();
    const client = createClient(Health, createGrpcTransport({ baseUrl: target.url }));
    const statuses: ServingStatus[] = [];
    for await (const { status } of client.watch({})) {
      statuses.push(status);
      if (status === ServingStatus.NOT_SERVING) break;
      target.server.readiness.drain();
    }
    expect(statuses).toEqual([ServingStatus.SERVING, ServingStatus.NOT_SERVING]);
  });

  test('answers SERVICE_UNKNOWN for a service that is not here, and stays open', async () => {
    await using target = await startServer();
    const client = createClient(Health, createGrpcTransport({ baseUrl: target.url }));
    const abort = new AbortController();
    const watch = client
      .watch({ service: 'carillon.Nothing' }, { signal: abort.signal })
      [Symbol.asyncIterator]();
    expect((await watch.next()).value?.status).toBe(ServingStatus.SERVICE_UNKNOWN);
    const second = expect(watch.next()).rejects.toThrow('[canceled]');
    abort.abort();
    await second;
    await target.log.find((line) => line.msg === 'call' && line.code === 'CANCELED');
  });
});
