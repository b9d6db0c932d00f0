import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { DomainError } from '@carillon/core/domain-error.ts';
import {
  OverlapPolicy,
  RunKind,
  RunPayloadSchema,
  RunSpecSchema,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { systemEntropy } from '@carillon/server';
import { describe, expect, test } from 'vitest';
import { newRunOf } from './new-run.ts';
import { adHoc, slot } from './service-under-test.ts';

const nowMicros = Date.UTC(2026, 10, 21, 23, 59, 59) * 1000 + 123_456;
const context = { nowMicros, entropy: systemEntropy };

function violations(request: CreateRunRequest): string[] {
  try {
    newRunOf(request, context);
    return [];
  } catch (error) {
    if (error instanceof DomainError && error.fault.kind === 'INVALID_ARGUMENT') {
      return error.fault.violations.map(({ field, reason }) => `${field} ${reason}`);
    }
    throw error;
  }
}

describe('a request', () => {
  test('of an ad-hoc run gets every default', () => {
    expect(newRunOf(adHoc({ runId: 'mine' }), context)).toMatchObject({
      project: 'p',
      domain: 'd',
      run_id: 'mine',
      day: '2026-11-21',
      kind: 'AD_HOC',
      nominal_micros: nowMicros,
      fire_micros: nowMicros,
      not_after_micros: null,
      takes_name: true,
      queue: 'default',
      max_attempts: 1,
      initial_backoff_ms: 1_000,
      max_backoff_ms: 60_000,
      attempt_timeout_ms: 3_600_000,
      concurrency_key: null,
      phase: 'QUEUED',
      outcome: 'STARTED',
      inputs: null,
    });
  });

  test('without a name gets one that no caller can choose', () => {
    const { run_id, takes_name } = newRunOf(adHoc({ runId: '' }), context);
    expect(run_id).toMatch(/^r[a-z2-7]{26}$/);
    expect(takes_name).toBe(false);
    expect(newRunOf(adHoc({ runId: '' }), context).run_id).not.toBe(run_id);
    expect(violations(adHoc({ runId: run_id }))).toEqual(['run_id SLOT_NAME']);
  });

  test.each([
    ['ad-hoc with a schedule', adHoc({ schedule: 'projects/p/domains/d/schedules/s' }), ['schedule AD_HOC']],
    ['ad-hoc with a uid', adHoc({ scheduleUid: 'u' }), ['schedule_uid AD_HOC']],
    ['ad-hoc with a revision', adHoc({ scheduleRevision: 1 }), ['schedule_revision AD_HOC']],
    ['ad-hoc under a flyte name', adHoc({ runId: 'rabc123' }), ['run_id SLOT_NAME']],
    ['ad-hoc under nearly a flyte name', adHoc({ runId: 'rabc123g' }), []],
    ['a slot', slot(), []],
    ['a slot without a name', slot({ runId: '' }), ['run_id SLOT_NAME']],
    ['a slot under a name of its own', slot({ runId: 'nightly' }), ['run_id SLOT_NAME']],
    ['a slot without a schedule', slot({ schedule: '' }), ['schedule REQUIRED']],
    [
      "a slot of another domain's schedule",
      slot({ schedule: 'projects/p/domains/e/schedules/s' }),
      ['schedule OTHER_PARENT'],
    ],
    ['a slot without a uid', slot({ scheduleUid: '' }), ['schedule_uid REQUIRED']],
    ['a flyte slot without a uid', slot({ runId: 'rabc123', scheduleUid: '' }), []],
    ['a flyte slot with a uid', slot({ runId: 'rabc123' }), ['schedule_uid FLYTE_NAME']],
    [
      'a slot without a time',
      (() => {
        const request = slot();
        delete request.nominalTime;
        return request;
      })(),
      ['nominal_time REQUIRED'],
    ],
    [
      'a slot between two seconds',
      slot({ nominalTime: { seconds: 1n, nanos: 1_000 } }),
      ['nominal_time WHOLE_SECONDS'],
    ],
    [
      'a time-out of half a millisecond',
      adHoc({ spec: create(RunSpecSchema, { task: 't', attemptTimeout: { seconds: 1n, nanos: 500_000 } }) }),
      ['spec.attempt_timeout WHOLE_MILLISECONDS'],
    ],
    [
      'a media type of values',
      adHoc({
        spec: create(RunSpecSchema, {
          task: 't',
          inputs: { contentType: 'text/plain', content: { case: 'values', value: {} } },
        }),
      }),
      ['spec.inputs.content_type CONTENT_TYPE_OF_VALUES'],
    ],
  ])('%s', (_, request, expected) => {
    expect(violations(request)).toEqual(expected);
  });

  test.each([
    [{ key: 'k', policy: OverlapPolicy.SKIP }, 1],
    [{ key: 'k', policy: OverlapPolicy.TERMINATE_OTHER, limit: 3 }, 3],
    [{ key: 'k', policy: OverlapPolicy.ALLOW, limit: 2 }, 2],
    [{ key: 'k', policy: OverlapPolicy.UNSPECIFIED }, 0],
  ])('with the overlap %o has the limit %i, and is decided when it is created', (concurrency, limit) => {
    expect(newRunOf(adHoc({ concurrency }), context)).toMatchObject({
      concurrency_key: 'k',
      concurrency_limit: limit,
      phase: 'BUFFERED',
    });
  });

  test('without a concurrency key is queued', () => {
    expect(newRunOf(adHoc(), context)).toMatchObject({ phase: 'QUEUED', outcome: 'STARTED' });
  });

  test('without a limit that a clock could reach has none', () => {
    const never = adHoc({ notAfter: { seconds: 253_402_300_799n, nanos: 0 } });
    expect(newRunOf(never, context).not_after_micros).toBeNull();
    const past = adHoc({ notAfter: { seconds: -5n, nanos: 0 } });
    expect(newRunOf(past, context).not_after_micros).toBe(0);
  });
});

describe('the digest', () => {
  const digest = (
    spec: MessageInitShape<typeof RunSpecSchema>,
    changes: Parameters<typeof adHoc>[0] = {},
  ): string =>
    Buffer.from(
      newRunOf(adHoc({ spec: create(RunSpecSchema, { task: 't', ...spec }), ...changes }), context).digest,
    ).toString('hex');
  const values = (value: Record<string, string | number>) =>
    create(RunPayloadSchema, { content: { case: 'values', value } });
  const data = (text: string, contentType = '') =>
    create(RunPayloadSchema, { content: { case: 'data', value: Buffer.from(text) }, contentType });

  test('is the same for ever: rows keep it', () => {
    expect(digest({ inputs: values({ b: 2, a: 'x' }), labels: { team: 'x' } })).toMatchInlineSnapshot(
      `"5c9b1dfd4776805072fdc16a3c4f31a3e6526f857ec2e2df915c51cc1ad49087"`,
    );
  });

  test('does not depend on order, defaults, names, times or who asks', () => {
    expect(digest({ inputs: values({ b: 2, a: 1 }) })).toBe(digest({ inputs: values({ a: 1, b: 2 }) }));
    expect(digest({ labels: { b: '2', a: '1' } })).toBe(digest({ labels: { a: '1', b: '2' } }));
    expect(digest({ queue: 'default' })).toBe(digest({}));
    expect(digest({ inputs: data('x', 'application/octet-stream') })).toBe(digest({ inputs: data('x') }));
    expect(digest({}, { fireTime: { seconds: 5n }, notAfter: { seconds: 1_900_000_000n } })).toBe(digest({}));
    expect(digest({}, { nominalTime: { seconds: 5n }, runId: 'other' })).toBe(digest({}));
  });

  test('depends on all else', () => {
    const digests = [
      digest({}),
      digest({ task: 'u' }),
      digest({ queue: 'q' }),
      digest({ labels: { a: 'bc' } }),
      digest({ labels: { ab: 'c' } }),
      digest({ inputs: values({}) }),
      digest({ inputs: values({ a: 1 }) }),
      digest({ inputs: values({ a: '1' }) }),
      digest({ inputs: data('{"a":1}', 'application/json') }),
      digest({ inputs: data('{"a":1}') }),
      digest({ inputs: data('') }),
      digest({ retry: { maxAttempts: 2 } }),
      digest({}, { concurrency: { key: 'k' } }),
      digest({}, { concurrency: { key: 'l' } }),
    ];
    expect(new Set(digests).size).toBe(digests.length);
  });

  test('is that of kinds alike: a slot asked for by hand is the same run', () => {
    const run = slot();
    expect(newRunOf({ ...run, kind: RunKind.TRIGGER }, context).digest).toEqual(
      newRunOf(run, context).digest,
    );
  });
});
