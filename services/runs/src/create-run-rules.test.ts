import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { DomainError } from '@carillon/core/domain-error.ts';
import { CreateRunRequestSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { RequestValidator } from '@carillon/server';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keepsRules } from './create-run-rules.ts';
import { slot } from './service-under-test.ts';

const validator = new RequestValidator();

function isValid(init: MessageInitShape<typeof CreateRunRequestSchema>): boolean {
  try {
    validator.check(CreateRunRequestSchema, create(CreateRunRequestSchema, init));
    return true;
  } catch (error) {
    if (error instanceof DomainError) return false;
    throw error;
  }
}

const label = fc.constantFrom(
  'a',
  'p-1',
  'P',
  '',
  '-',
  'a-',
  '1a',
  'a'.repeat(63),
  'a'.repeat(64),
  'ä',
  'a\0',
  'a\n',
);
const parent = fc.oneof(
  fc.tuple(label, label).map(([project, domain]) => `projects/${project}/domains/${domain}`),
  fc.constantFrom('', 'projects/p', 'projects/p/domains/d\n', ' projects/p/domains/d'),
);
const text = fc.oneof(label, fc.string({ maxLength: 70 }), fc.string({ unit: 'binary', maxLength: 70 }));
const time = fc.option(
  fc.record({
    seconds: fc.constantFrom(-1n, 0n, 1_800_000_000n, 7_258_118_399n, 7_258_118_400n),
    nanos: fc.constantFrom(0, 1, 999_999_999, 1_000_000_000, -1),
  }),
  { nil: undefined },
);
const duration = fc.option(
  fc.record({
    seconds: fc.constantFrom(-1n, 0n, 1n, 3_600n, 3_601n, 86_400n, 604_800n, 604_801n),
    nanos: fc.constantFrom(0, 1, 999_999, 1_000_000, 500_000_000, 999_999_999, -1_000_000),
  }),
  { nil: undefined },
);

const request = fc.record({
  parent,
  runId: text,
  kind: fc.integer({ min: -1, max: 6 }),
  schedule: fc.oneof(
    fc.tuple(parent, label).map(([within, id]) => `${within}/schedules/${id}`),
    fc.constantFrom('', 'x'),
  ),
  scheduleUid: text,
  scheduleRevision: fc.integer({ min: -2, max: 3 }),
  nominalTime: time,
  fireTime: time,
  notAfter: time,
  concurrency: fc.option(
    fc.record({
      key: fc.oneof(text, fc.constant('k'.repeat(256))),
      limit: fc.constantFrom(-1, 0, 100_000, 100_001),
      policy: fc.integer({ min: -1, max: 8 }),
    }),
    { nil: undefined },
  ),
  spec: fc.option(
    fc.record({
      task: fc.oneof(text, fc.constantFrom('reports.daily', 't'.repeat(255), 't'.repeat(256), '/t')),
      queue: text,
      labels: fc.dictionary(text, text, { maxKeys: 35 }),
      retry: fc.option(
        fc.record({
          maxAttempts: fc.constantFrom(-1, 0, 100, 101),
          initialBackoff: duration,
          maxBackoff: duration,
        }),
        { nil: undefined },
      ),
      attemptTimeout: duration,
      inputs: fc.option(
        fc.record({
          contentType: fc.constantFrom('', 'application/json', 'text/plain; charset=utf-8', 'x', ' '),
          content: fc.constantFrom(
            { case: 'data' as const, value: new Uint8Array(1_048_576) },
            { case: 'data' as const, value: new Uint8Array(1_048_577) },
            { case: 'values' as const, value: { a: 1 } },
            { case: undefined },
          ),
        }),
        { nil: undefined },
      ),
    }),
    { nil: undefined },
  ),
});

test('never accepts what the rules in the protos refuse', () => {
  // A valid request with one or two fields from the wild, so that a single fault is not hidden by others.
  const mutated = fc
    .tuple(
      request,
      fc.subarray(
        [
          'parent',
          'runId',
          'kind',
          'schedule',
          'scheduleUid',
          'scheduleRevision',
          'nominalTime',
          'fireTime',
          'notAfter',
          'concurrency',
          'spec',
        ] as const,
        { minLength: 1, maxLength: 2 },
      ),
    )
    .map(([wild, fields]) => {
      const { $typeName: _, ...base } = slot();
      const changed: Record<string, unknown> = base;
      for (const field of fields) changed[field] = wild[field];
      return changed as MessageInitShape<typeof CreateRunRequestSchema>;
    });
  let accepted = 0;
  fc.assert(
    fc.property(mutated, (init) => {
      const message = create(CreateRunRequestSchema, init);
      if (!keepsRules(message)) return true;
      accepted++;
      return isValid(init);
    }),
    { numRuns: 3_000 },
  );
  expect(accepted).toBeGreaterThan(100);
});

test('accepts what schedulers send', () => {
  expect(keepsRules(slot())).toBe(true);
});
