import { clone, type JsonObject, type JsonValue, toBinary } from '@bufbuild/protobuf';
import type { FieldViolation } from '@carillon/core/domain-error.ts';
import {
  type RetryPolicy,
  type RunPayload,
  type RunSpec,
  RunSpecSchema,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { durationViolations } from './whole-time.ts';

/** The most bytes of a payload: of `data`, or of `values` as JSON. */
export const MAX_PAYLOAD_BYTES = 1_048_576;

/** The most levels that structures and lists are nested in `values`: 100 nested messages is where protobuf libraries give up. */
export const MAX_PAYLOAD_DEPTH = 20;

/**
 * A RunSpec in the protobuf binary form, its maps in the order of their keys: equal specs are equal bytes, whoever sent them.
 * Fields that this binary does not know are kept.
 */
export function runSpecBytes(spec: RunSpec): Uint8Array {
  const canonical = clone(RunSpecSchema, spec);
  canonical.labels = sortedByKey(canonical.labels, (label) => label);
  const content = canonical.inputs?.content;
  if (content?.case === 'values') content.value = sortedByKey(content.value, sorted);
  return toBinary(RunSpecSchema, canonical);
}

/** What is wrong with a RunSpec beyond the rules in the protos; `path` is where it stands in the request, as in `schedule.spec.run`. */
export function runSpecViolations(spec: RunSpec, path: string): FieldViolation[] {
  const violations = durationViolations(spec.attemptTimeout, `${path}.attempt_timeout`, 'milliseconds');
  if (spec.retry !== undefined) violations.push(...retryViolations(spec.retry, `${path}.retry`));
  if (spec.inputs !== undefined) violations.push(...payloadViolations(spec.inputs, `${path}.inputs`));
  return violations;
}

/** What is wrong with a payload beyond the rules in the protos. */
export function payloadViolations(payload: RunPayload, path: string): FieldViolation[] {
  const { content, contentType } = payload;
  if (content.case !== 'values') return [];
  const violations: FieldViolation[] = [];
  if (contentType !== '') {
    const description = 'is not allowed with values, which are JSON';
    violations.push({ field: `${path}.content_type`, description, reason: 'CONTENT_TYPE_OF_VALUES' });
  }
  const problem = nestedProblemOf(content.value, 1);
  if (problem !== undefined) return [...violations, { field: `${path}.values`, ...problem }];
  const bytes = Buffer.byteLength(JSON.stringify(content.value));
  if (bytes > MAX_PAYLOAD_BYTES) {
    const description = `is ${bytes} bytes as JSON, of at most ${MAX_PAYLOAD_BYTES}`;
    violations.push({ field: `${path}.values`, description, reason: 'PAYLOAD_SIZE' });
  }
  return violations;
}

function retryViolations(retry: RetryPolicy, path: string): FieldViolation[] {
  return [
    ...durationViolations(retry.initialBackoff, `${path}.initial_backoff`, 'milliseconds'),
    ...durationViolations(retry.maxBackoff, `${path}.max_backoff`, 'milliseconds'),
  ];
}

/** What JSON, or protobuf's Struct, cannot hold. Parsers let it through: `1e400` is Infinity, and `"\ud800"` half a character. */
function problemOf(value: JsonValue, depth: number): Omit<FieldViolation, 'field'> | undefined {
  switch (typeof value) {
    case 'number':
      if (Number.isFinite(value)) return undefined;
      return { description: `holds ${value}, which JSON has no number for`, reason: 'PAYLOAD_NUMBER' };
    case 'string':
      if (value.isWellFormed()) return undefined;
      return { description: 'holds a text that is not Unicode', reason: 'PAYLOAD_TEXT' };
    case 'object':
      return value === null ? undefined : nestedProblemOf(value, depth + 1);
    default:
      return undefined;
  }
}

function nestedProblemOf(
  value: JsonObject | JsonValue[],
  depth: number,
): Omit<FieldViolation, 'field'> | undefined {
  if (depth > MAX_PAYLOAD_DEPTH) {
    return { description: `is nested deeper than ${MAX_PAYLOAD_DEPTH} levels`, reason: 'PAYLOAD_DEPTH' };
  }
  for (const [key, inner] of Object.entries(value)) {
    const problem = problemOf(key, depth) ?? problemOf(inner, depth);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  return typeof value === 'object' && value !== null ? sortedByKey(value, sorted) : value;
}

/** Not by assignment, which would lose a key `__proto__`. */
function sortedByKey<T>(map: Readonly<Record<string, T>>, inner: (value: T) => T): Record<string, T> {
  const entries = Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, value]) => [key, inner(value)]));
}
