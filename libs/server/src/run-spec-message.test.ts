import { create, fromBinary, type JsonValue } from '@bufbuild/protobuf';
import { type RunPayload, RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { describe, expect, it } from 'vitest';
import { MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, runSpecBytes, runSpecViolations } from './run-spec-message.ts';

function specOf(values: Record<string, JsonValue>, contentType = '') {
  return create(RunSpecSchema, {
    task: 't',
    inputs: { content: { case: 'values', value: values }, contentType },
  });
}

function reasons(values: Record<string, JsonValue>, contentType = ''): unknown[] {
  return runSpecViolations(specOf(values, contentType), 'spec').map(({ field, reason }) => [field, reason]);
}

function nested(levels: number): Record<string, JsonValue> {
  let value: Record<string, JsonValue> = {};
  for (let level = 1; level < levels; level++) value = level % 2 === 0 ? { a: value } : { a: [value] };
  return value;
}

describe('run specs', () => {
  it('are the same bytes in whatever order their keys came', () => {
    const labels = (keys: string[]) => Object.fromEntries(keys.map((key) => [key, key]));
    const first = create(RunSpecSchema, {
      task: 't',
      labels: labels(['b', 'a', '10', '9']),
      inputs: { content: { case: 'values', value: { x: [{ p: 1, q: 2 }], a: null } } },
    });
    const second = create(RunSpecSchema, {
      task: 't',
      labels: labels(['9', '10', 'a', 'b']),
      inputs: { content: { case: 'values', value: { a: null, x: [{ q: 2, p: 1 }] } } },
    });
    expect(runSpecBytes(first)).toEqual(runSpecBytes(second));
    expect(first.labels).toEqual(second.labels);
  });

  it('keep keys named __proto__, and no prototype is touched', () => {
    const values = JSON.parse('{"__proto__":{"polluted":true},"a":[{"__proto__":1}]}');
    const stored = fromBinary(RunSpecSchema, runSpecBytes(specOf(values)));
    const { content } = stored.inputs as RunPayload;
    expect(JSON.stringify(content.value)).toBe('{"__proto__":{"polluted":true},"a":[{"__proto__":1}]}');
    expect('polluted' in {}).toBe(false);
  });

  it('keep fields that this binary does not know', () => {
    const future = new Uint8Array([...runSpecBytes(create(RunSpecSchema, { task: 't' })), 0xf8, 0x07, 0x2a]);
    expect(runSpecBytes(fromBinary(RunSpecSchema, future))).toEqual(future);
  });

  it('are refused where JSON could not hold their values', () => {
    expect(reasons({ a: Number.POSITIVE_INFINITY })).toEqual([['spec.inputs.values', 'PAYLOAD_NUMBER']]);
    expect(reasons({ a: [{ b: Number.NaN }] })).toEqual([['spec.inputs.values', 'PAYLOAD_NUMBER']]);
    expect(reasons({ a: '\ud800' })).toEqual([['spec.inputs.values', 'PAYLOAD_TEXT']]);
    expect(reasons({ '\ud800': 1 })).toEqual([['spec.inputs.values', 'PAYLOAD_TEXT']]);
  });

  it('are refused beyond the depth and the size', () => {
    expect(reasons(nested(MAX_PAYLOAD_DEPTH / 2))).toEqual([]);
    expect(reasons(nested(MAX_PAYLOAD_DEPTH + 1))).toEqual([['spec.inputs.values', 'PAYLOAD_DEPTH']]);
    const overhead = Buffer.byteLength('{"a":""}');
    expect(reasons({ a: 'x'.repeat(MAX_PAYLOAD_BYTES - overhead) })).toEqual([]);
    expect(reasons({ a: 'x'.repeat(MAX_PAYLOAD_BYTES - overhead + 1) })).toEqual([
      ['spec.inputs.values', 'PAYLOAD_SIZE'],
    ]);
    expect(reasons({ a: 'ä'.repeat(MAX_PAYLOAD_BYTES / 2) })).toEqual([
      ['spec.inputs.values', 'PAYLOAD_SIZE'],
    ]);
  });

  it('are refused with a content type for values, and with fractions of a millisecond', () => {
    expect(reasons({}, 'text/plain')).toEqual([['spec.inputs.content_type', 'CONTENT_TYPE_OF_VALUES']]);
    const spec = create(RunSpecSchema, {
      task: 't',
      attemptTimeout: { seconds: 1n, nanos: 1 },
      retry: { initialBackoff: { nanos: 1_500_000 }, maxBackoff: { nanos: 2_000_000 } },
    });
    expect(runSpecViolations(spec, 'spec').map(({ field }) => field)).toEqual([
      'spec.attempt_timeout',
      'spec.retry.initial_backoff',
    ]);
  });
});
