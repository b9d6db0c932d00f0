import { hash } from 'node:crypto';
import type { JsonValue } from '@bufbuild/protobuf';
import type { NewRun } from '@carillon/db/tables/runs.ts';
import type { RunPayload } from '@carillon/gen/carillon/run/v1/run_pb.ts';

/** What two requests under one name must agree in. */
export type DigestedRun = Pick<
  NewRun,
  | 'task'
  | 'queue'
  | 'labels'
  | 'max_attempts'
  | 'initial_backoff_ms'
  | 'max_backoff_ms'
  | 'attempt_timeout_ms'
  | 'concurrency_key'
  | 'concurrency_limit'
  | 'concurrency_policy'
>;

/** Names the encoding below. Rows keep their digests, so a change of it takes a new one. */
const ENCODING = 'carillon-run/1';

/**
 * SHA-256 over what is to be executed, and under which policies, with every default filled in. Never over times, attempts or
 * who asks: a repeated request differs in those. Each part goes in as a big-endian 32-bit byte length and UTF-8, so that no two
 * lists of parts share an encoding; structures as JSON with sorted keys.
 */
export function runDigest(run: DigestedRun, inputs: RunPayload | undefined): Uint8Array {
  const labels = Object.entries(run.labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts: (string | number | Uint8Array)[] = [
    ENCODING,
    run.task,
    run.queue,
    ...inputParts(inputs),
    labels.length,
    ...labels.flat(),
    run.max_attempts,
    run.initial_backoff_ms,
    run.max_backoff_ms,
    run.attempt_timeout_ms,
    run.concurrency_key === null ? 0 : 1,
    run.concurrency_key ?? '',
    run.concurrency_limit,
    run.concurrency_policy,
  ];
  return hash('sha256', encode(parts), 'buffer');
}

function inputParts(inputs: RunPayload | undefined): (string | Uint8Array)[] {
  switch (inputs?.content.case) {
    case 'data':
      return ['data', inputs.contentType, inputs.content.value];
    case 'values':
      return ['values', '', JSON.stringify(sorted(inputs.content.value))];
    default:
      return ['none', '', ''];
  }
}

function encode(parts: readonly (string | number | Uint8Array)[]): Buffer {
  const bytes = parts.map((part) =>
    typeof part === 'object' ? part : Buffer.from(typeof part === 'string' ? part : String(part), 'utf8'),
  );
  const encoded = Buffer.allocUnsafe(bytes.reduce((length, part) => length + 4 + part.length, 0));
  let offset = 0;
  for (const part of bytes) {
    offset = encoded.writeUInt32BE(part.length, offset);
    encoded.set(part, offset);
    offset += part.length;
  }
  return encoded;
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  // Not by assignment, which would lose a key `__proto__`.
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
