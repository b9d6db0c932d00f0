import { ManualClock } from '@carillon/core/manual-clock.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import {
  createClient,
  createRouterTransport,
  type HandlerContext,
  type ServiceImpl,
} from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { Call, callKey } from './call.ts';
import { deadlineInterceptor } from './deadline-interceptor.ts';
import { createLogger } from './logger.ts';
import { LogSink } from './server-under-test.ts';

const log = new LogSink();
const logger = createLogger({ service: 's', instance: 'i', level: 'debug', destination: log });

function setUp(
  runs: Partial<ServiceImpl<typeof RunService>>,
  getSchedule?: ServiceImpl<typeof ScheduleService>['getSchedule'],
) {
  const clock = new ManualClock();
  const draining = new AbortController();
  const call = new Call({
    requestId: 'r',
    peer: 'p',
    service: 's',
    method: 'm',
    draining: draining.signal,
    principal: { subject: 'x' },
    logger,
  });
  const transport = createRouterTransport(
    ({ service }) => {
      service(RunService, runs);
      service(ScheduleService, getSchedule === undefined ? {} : { getSchedule });
    },
    {
      router: {
        interceptors: [
          (next) => (request) => {
            request.contextValues.set(callKey, call);
            return next(request);
          },
          deadlineInterceptor({ clock, logger, defaultTimeoutMs: 1_000 }),
        ],
      },
    },
  );
  return {
    clock,
    draining,
    runs: createClient(RunService, transport),
    schedules: createClient(ScheduleService, transport),
  };
}

const PARENT = { parent: 'projects/p/domains/d' };

test('a unary call without a deadline ends at the default, and its handler is told', async () => {
  const began = Promise.withResolvers<HandlerContext>();
  const { clock, schedules } = setUp({}, (_request, context) => {
    began.resolve(context);
    return new Promise(() => undefined);
  });
  const call = expect(schedules.getSchedule({})).rejects.toThrow('[deadline_exceeded]');
  const { signal } = await began.promise;
  clock.advance(999);
  expect(signal.aborted).toBe(false);
  clock.advance(1);
  await call;
  expect(signal.aborted).toBe(true);
});

test('the caller’s own deadline stands instead of the default', async () => {
  const { clock, schedules } = setUp({}, () => ({}));
  await schedules.getSchedule({}, { timeoutMs: 30_000 });
  expect(clock.nextTimer()).toBe(Number.POSITIVE_INFINITY);
});

test('a call that ends in time leaves no timer', async () => {
  const { clock, schedules } = setUp({}, () => ({}));
  await schedules.getSchedule({});
  expect(clock.nextTimer()).toBe(Number.POSITIVE_INFINITY);
});

test('a stream has no default deadline', async () => {
  const { clock, runs } = setUp({
    async *watchRuns() {
      yield {};
      clock.advance(50_000);
      yield {};
    },
  });
  let count = 0;
  for await (const _ of runs.watchRuns(PARENT)) count += 1;
  expect(count).toBe(2);
});

test('a drain ends a stream whose handler does not look, and its late error is logged', async () => {
  const late = Promise.withResolvers<never>();
  const { draining, runs } = setUp({
    async *watchRuns() {
      yield {};
      await late.promise;
    },
  });
  const stream = runs.watchRuns(PARENT)[Symbol.asyncIterator]();
  await stream.next();
  const ended = expect(stream.next()).rejects.toThrow('[unavailable] the server is shutting down');
  draining.abort();
  await ended;
  late.reject(new Error('too late'));
  expect(await log.find(({ msg }) => msg === 'error after the end of its call')).toBeDefined();
});

test('a stream that begins during the drain ends at once', async () => {
  const { draining, runs } = setUp({
    async *watchRuns(_request, { signal }) {
      yield {};
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  });
  draining.abort();
  const stream = runs.watchRuns(PARENT)[Symbol.asyncIterator]();
  await expect(stream.next()).rejects.toThrow('[unavailable]');
});
