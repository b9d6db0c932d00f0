import { create } from '@bufbuild/protobuf';
import { DomainError } from '@carillon/core/domain-error.ts';
import { BatchCreateRunsRequestSchema, RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import {
  CreateScheduleRequestSchema,
  ScheduleService,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import {
  ServerReflection,
  ServerReflectionRequestSchema,
} from '@carillon/gen/grpc/reflection/v1/reflection_pb.ts';
import { createClient, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { RequestValidator, validateInterceptor } from './validate-interceptor.ts';

const validator = new RequestValidator();

function refused(act: () => void): DomainError {
  try {
    act();
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('RequestValidator', () => {
  test('names every field that breaks a rule, by its proto path, with rule and sentence', () => {
    const request = create(CreateScheduleRequestSchema, {
      parent: 'projects/P/domains/d',
      scheduleId: '',
      schedule: {
        description: 'x'.repeat(1_025),
        labels: { '': 'v' },
        spec: { pattern: { case: 'cron', value: { expression: '' } } },
      },
    });
    const { fault } = refused(() => validator.check(CreateScheduleRequestSchema, request));
    if (fault.kind !== 'INVALID_ARGUMENT') throw new Error(fault.kind);
    const found = fault.violations.map(({ field, reason }) => `${field} ${reason}`);
    expect(found).toContain('parent string.pattern');
    expect(found.filter((each) => each.startsWith('schedule_id '))).toEqual(['schedule_id string.min_len']);
    expect(found).toContain('schedule.description string.max_len');
    expect(found).toContain('schedule.labels[""] string.min_len');
    expect(found).toContain('schedule.spec.cron.expression string.min_len');
    expect(found).toContain('schedule.spec.run required');
    for (const { description } of fault.violations) expect(description).not.toBe('');
    expect(fault.violations.find(({ field }) => field === 'schedule_id')?.description).toBe(
      'must not be empty',
    );
  });

  test('indexes lists', () => {
    const request = create(BatchCreateRunsRequestSchema, { requests: [{}, { parent: 'nonsense' }] });
    const { fault } = refused(() => validator.check(BatchCreateRunsRequestSchema, request));
    if (fault.kind !== 'INVALID_ARGUMENT') throw new Error(fault.kind);
    expect(fault.violations.map(({ field }) => field).some((field) => field.startsWith('requests[1].'))).toBe(
      true,
    );
  });

  test('the rules of every request of the product compile', () => {
    for (const service of [ScheduleService, RunService]) {
      for (const method of service.methods) validator.prepare(method.input);
    }
  });

  test('patterns are matched in linear time', () => {
    const request = create(CreateScheduleRequestSchema, {
      parent: `projects/p${'-'.repeat(200)}!`,
      scheduleId: 's',
    });
    const startedAt = performance.now();
    refused(() => validator.check(CreateScheduleRequestSchema, request));
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});

describe('validateInterceptor', () => {
  const transport = (handled: unknown[]) =>
    createRouterTransport(
      ({ service }) => {
        service(ScheduleService, {
          createSchedule: (request) => {
            handled.push(request);
            return {};
          },
        });
        service(ServerReflection, {
          async *serverReflectionInfo(requests) {
            for await (const request of requests) {
              handled.push(request);
              yield {};
            }
          },
        });
      },
      { router: { interceptors: [validateInterceptor(validator)] } },
    );

  test('a bad unary request never reaches its handler', async () => {
    const handled: unknown[] = [];
    const client = createClient(ScheduleService, transport(handled));
    await expect(client.createSchedule({ parent: 'nonsense' })).rejects.toThrow();
    expect(handled).toEqual([]);
  });

  test('the messages of a stream pass one by one', async () => {
    const handled: unknown[] = [];
    const client = createClient(ServerReflection, transport(handled));
    async function* requests() {
      yield create(ServerReflectionRequestSchema, { host: 'a' });
      yield create(ServerReflectionRequestSchema, { host: 'b' });
    }
    let answers = 0;
    for await (const _ of client.serverReflectionInfo(requests())) answers += 1;
    expect([answers, handled.length]).toEqual([2, 2]);
  });
});
