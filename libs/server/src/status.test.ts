import {
  type DescMessage,
  type MessageJsonType,
  type MessageShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import {
  aborted,
  alreadyExists,
  type DomainError,
  failedPrecondition,
  invalidArgument,
  notFound,
  outOfRange,
  permissionDenied,
  resourceExhausted,
  unauthenticated,
  unavailable,
  unimplemented,
} from '@carillon/core/domain-error.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from '@carillon/gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '@carillon/gen/google/rpc/status_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { LogSink } from './server-under-test.ts';
import { toRefusal, toStatus } from './status.ts';

function scene() {
  const log = new LogSink();
  const logger = createLogger({ service: 's', instance: 'i', level: 'debug', destination: log });
  return { log, requestId: 'req-1', logger };
}

function json<D extends DescMessage>(schema: D, messages: MessageShape<D>[]): MessageJsonType<D>[] {
  return messages.map((message) => toJson(schema, message) as MessageJsonType<D>);
}

const violation = { field: 'spec.cron.expression', description: 'has 4 fields', reason: 'CRON_SYNTAX' };
const requestDetails = [{ fieldViolations: [violation] }];

/** The text in the bytes that a caller would get. */
function onTheWire(status: Status): string {
  return Buffer.from(toBinary(StatusSchema, status)).toString('latin1');
}

interface Expected {
  readonly code: Code;
  readonly reason: string;
  readonly metadata?: Record<string, string>;
  readonly badRequest?: unknown;
  readonly resource?: unknown;
  readonly precondition?: unknown;
  readonly retry?: unknown;
}

const table: [string, DomainError, Expected][] = [
  [
    'INVALID_ARGUMENT',
    invalidArgument(violation),
    { code: Code.InvalidArgument, reason: 'INVALID_ARGUMENT', badRequest: requestDetails },
  ],
  [
    'OUT_OF_RANGE',
    outOfRange(violation),
    { code: Code.OutOfRange, reason: 'OUT_OF_RANGE', badRequest: requestDetails },
  ],
  [
    'NOT_FOUND',
    notFound('carillon.dev/Run', 'runs/r'),
    {
      code: Code.NotFound,
      reason: 'NOT_FOUND',
      resource: [{ resourceType: 'carillon.dev/Run', resourceName: 'runs/r' }],
    },
  ],
  [
    'ALREADY_EXISTS',
    alreadyExists('SPEC_CONFLICT', 'another spec', { run: 'r' }),
    { code: Code.AlreadyExists, reason: 'SPEC_CONFLICT', metadata: { run: 'r' } },
  ],
  [
    'ABORTED',
    aborted('STALE_ETAG', 'stale', { currentEtag: '7' }),
    { code: Code.Aborted, reason: 'STALE_ETAG', metadata: { currentEtag: '7' } },
  ],
  [
    'FAILED_PRECONDITION',
    failedPrecondition('EXPIRED', 'too late', { notAfter: 't' }),
    {
      code: Code.FailedPrecondition,
      reason: 'EXPIRED',
      metadata: { notAfter: 't' },
      precondition: [{ violations: [{ type: 'EXPIRED', description: 'too late' }] }],
    },
  ],
  [
    'RESOURCE_EXHAUSTED with a time',
    resourceExhausted('QUOTA', 'full', { project: 'p' }, 1_500),
    {
      code: Code.ResourceExhausted,
      reason: 'QUOTA',
      metadata: { project: 'p' },
      retry: [{ retryDelay: '1.500s' }],
    },
  ],
  [
    'RESOURCE_EXHAUSTED without a time',
    resourceExhausted('QUOTA', 'full'),
    { code: Code.ResourceExhausted, reason: 'QUOTA' },
  ],
  [
    'PERMISSION_DENIED',
    permissionDenied('NOT_YOURS', 'no', { project: 'p' }),
    { code: Code.PermissionDenied, reason: 'NOT_YOURS', metadata: { project: 'p' } },
  ],
  [
    'UNAUTHENTICATED',
    unauthenticated('EXPIRED_TOKEN', 'no'),
    { code: Code.Unauthenticated, reason: 'EXPIRED_TOKEN' },
  ],
  [
    'UNAVAILABLE',
    unavailable('DRAINING', 'later', 100),
    { code: Code.Unavailable, reason: 'DRAINING', retry: [{ retryDelay: '0.100s' }] },
  ],
  ['UNIMPLEMENTED', unimplemented('BACKEND', 'no'), { code: Code.Unimplemented, reason: 'BACKEND' }],
];

describe('the mapping of domain errors', () => {
  test.each(table)('%s', (_name, error, expected) => {
    const refusal = toRefusal(error, scene());
    const found = refusal.error;
    expect(refusal.reason).toBe(expected.reason);
    expect(found.code).toBe(expected.code);
    expect(found.rawMessage).toBe(error.message);
    const info = { reason: expected.reason, domain: 'carillon.dev' };
    expect(json(ErrorInfoSchema, found.findDetails(ErrorInfoSchema))).toEqual([
      expected.metadata === undefined ? info : { ...info, metadata: expected.metadata },
    ]);
    expect(json(BadRequestSchema, found.findDetails(BadRequestSchema))).toEqual(expected.badRequest ?? []);
    expect(json(ResourceInfoSchema, found.findDetails(ResourceInfoSchema))).toEqual(expected.resource ?? []);
    expect(json(PreconditionFailureSchema, found.findDetails(PreconditionFailureSchema))).toEqual(
      expected.precondition ?? [],
    );
    expect(json(RetryInfoSchema, found.findDetails(RetryInfoSchema))).toEqual(expected.retry ?? []);
  });

  test.each(table)('%s as the status of one item of a batch', (_name, error, expected) => {
    const status = toStatus(error, scene());
    expect([status.code, status.message]).toEqual([expected.code, error.message]);
    const infos = status.details.flatMap((any) => anyUnpack(any, ErrorInfoSchema) ?? []);
    expect(infos.map(({ reason }) => reason)).toEqual([expected.reason]);
  });
});

describe('a defect', () => {
  test.each([
    ['an Error', new Error('password=hunter2')],
    ['a string', 'hunter2'],
    ['undefined', undefined],
  ])('%s is hidden from the caller and logged with the request id', (_what, thrown) => {
    const { log, ...at } = scene();
    const { error, reason } = toRefusal(thrown, at);
    expect(onTheWire(toStatus(thrown, scene()))).toContain('req-1');
    expect([error.code, error.rawMessage, reason]).toEqual([
      Code.Internal,
      'internal error; request id req-1',
      'INTERNAL',
    ]);
    expect(error.findDetails(RequestInfoSchema)).toMatchObject([{ requestId: 'req-1' }]);
    expect(onTheWire(toStatus(thrown, scene()))).not.toContain('hunter2');
    expect(log.lines).toMatchObject([{ level: 'error', requestId: 'req-1', msg: 'internal error' }]);
  });
});

test('an error of Connect passes unchanged and unlogged', () => {
  const { log, ...at } = scene();
  const thrown = new ConnectError('timed out', Code.DeadlineExceeded);
  expect(toRefusal(thrown, at)).toEqual({ error: thrown, reason: undefined });
  expect(log.lines).toEqual([]);
});

test('the database being away is UNAVAILABLE, with the cause kept from the caller', () => {
  const thrown = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5432'), { code: 'ECONNREFUSED' });
  const { error, reason } = toRefusal(thrown, scene());
  expect([error.code, reason]).toEqual([Code.Unavailable, 'DATABASE_UNAVAILABLE']);
  expect(onTheWire(toStatus(thrown, scene()))).not.toContain('10.0.0.1');
  expect(error.rawMessage).not.toContain('10.0.0.1');
});

describe('what goes into trailers stays small', () => {
  test('a thousand long violations', () => {
    const violations = Array.from({ length: 1_000 }, (_, index) => ({
      field: `runs[${index}].${'f'.repeat(1_000)}`,
      description: '🔔'.repeat(1_000),
      reason: 'r'.repeat(1_000),
    }));
    const status = toStatus(invalidArgument(...violations), scene());
    expect(toBinary(StatusSchema, status).length).toBeLessThan(5_000);
    const [badRequest] = status.details.flatMap((any) => anyUnpack(any, BadRequestSchema) ?? []);
    expect(badRequest?.fieldViolations.length).toBeGreaterThan(0);
    expect(status.message.isWellFormed()).toBe(true);
    for (const { description } of badRequest?.fieldViolations ?? [])
      expect(description.isWellFormed()).toBe(true);
  });

  test('long names, messages and metadata', () => {
    const long = 'x'.repeat(100_000);
    for (const error of [
      notFound('t', long),
      aborted('A', long, { key: long }),
      failedPrecondition('F', long),
    ]) {
      expect(toBinary(StatusSchema, toStatus(error, scene())).length).toBeLessThan(3_000);
    }
  });
});
