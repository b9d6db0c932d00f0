import { compileRecurrence, type Recurrence } from './recurrence.ts';
import { SpecError } from './recurrence-error.ts';
import type { CronDialect, DstGap, DstOverlap } from './recurrence-spec.ts';
import { parseRfc3339 } from './rfc3339.ts';
import { formatWall } from './zone/civil-date.ts';

/** The most slots one line may ask for. */
export const MAX_BATCH_COUNT = 10_000;

/** A request for the next slots of one expression, as one line of JSON. Unknown keys are ignored. */
export interface BatchRequest {
  /** Anything; it comes back as it is. */
  readonly id?: unknown;
  readonly expression: string;
  /** Default `STANDARD`. */
  readonly dialect?: string;
  /** IANA name; default `UTC`. */
  readonly timezone?: string;
  /** RFC 3339, or epoch seconds; the answer's times have the same form. Exclusive. */
  readonly after: string | number;
  /** 0 to {@link MAX_BATCH_COUNT}; default 1. */
  readonly count?: number;
  /** Default `AUTO`. */
  readonly dstGap?: string;
  /** Default `AUTO`. */
  readonly dstOverlap?: string;
  /** What `H` is hashed from; default the empty string. */
  readonly identity?: string;
}

/** What is wrong with a line. */
export interface BatchError {
  readonly kind: 'MALFORMED' | 'NEVER_FIRES';
  readonly field: string;
  /** 1-based, where the fault is in the expression. */
  readonly column?: number;
  readonly message: string;
}

/**
 * Answers one line of JSON with one line of JSON: `{id, next: [...]}` with the slots strictly after `after` (fewer
 * than `count` when no more exist), or `{id, error}`. Never throws: what is not JSON is answered with an error too.
 */
export function previewBatchLine(line: string): string {
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    return JSON.stringify({
      id: null,
      error: batchError(malformed('line', 'it is no JSON', 'give one object a line')),
    });
  }
  const id = (isRecord(request) ? request.id : undefined) ?? null;
  try {
    return JSON.stringify({ id, next: answer(request) });
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return JSON.stringify({ id, error: batchError(error) });
  }
}

function answer(request: unknown): (string | number)[] {
  if (!isRecord(request)) throw malformed('line', 'it is no object', 'give one object a line');
  const expression = text(request, 'expression', undefined);
  const { after } = request;
  const from = typeof after === 'number' ? after : instantOf(after);
  if (!Number.isFinite(from)) throw malformed('after', 'it is no instant', 'give RFC 3339 or epoch seconds');
  const count = request.count ?? 1;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > MAX_BATCH_COUNT) {
    throw malformed('count', 'it is no count', `give 0 to ${MAX_BATCH_COUNT}`);
  }
  const recurrence = compile(request, expression);
  const slots = [...recurrence.between(from, Number.POSITIVE_INFINITY, count)];
  return typeof after === 'number' ? slots : slots.map((slot) => `${formatWall(slot)}Z`);
}

function compile(request: Record<string, unknown>, expression: string): Recurrence {
  const pattern = {
    kind: 'cron',
    expression,
    // The compiler checks these against its own lists.
    dialect: text(request, 'dialect', 'STANDARD') as CronDialect,
    timeZone: text(request, 'timezone', 'UTC'),
    dstGap: text(request, 'dstGap', 'AUTO') as DstGap,
    dstOverlap: text(request, 'dstOverlap', 'AUTO') as DstOverlap,
  } as const;
  return compileRecurrence({ pattern }, text(request, 'identity', ''));
}

function instantOf(after: unknown): number {
  const micros = typeof after === 'string' ? parseRfc3339(after) : undefined;
  return micros === undefined ? Number.NaN : micros / 1_000_000;
}

function text(request: Record<string, unknown>, field: string, fallback: string | undefined): string {
  const value = request[field] ?? fallback;
  if (typeof value === 'string') return value;
  throw malformed(field, 'it is no text', 'give a string');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(field: string, problem: string, advice: string): SpecError {
  return new SpecError({ kind: 'MALFORMED', field, problem, advice });
}

function batchError(error: SpecError): BatchError {
  const { kind, field, column, message } = error;
  return { kind, field, ...(column === undefined ? {} : { column }), message };
}
