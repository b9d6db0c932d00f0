import type { JsonValue } from '@bufbuild/protobuf';
import type { Clock } from '@carillon/core/clock.ts';
import { type TaskContext, TaskError, type TaskHandler } from '@carillon/worker';
import { OutputTail } from './output-tail.ts';
import { inputValues, invalidInput, stringMap } from './task-inputs.ts';

/** What requests are made with. */
export interface RequestHttpOptions {
  readonly clock: Clock;
}

const TAIL_BYTES = 8_192;
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;
const DEFAULT_TIMEOUT_SECONDS = 30;

/** Of one timer. Work that takes longer answers first, and is done then. */
const MAX_TIMEOUT_SECONDS = 60;

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);

/** A request's inputs. */
interface Request {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string | undefined;
  /** Undefined: any of 200 to 299. */
  readonly expectedStatus: readonly number[] | undefined;
  readonly timeoutSeconds: number;
}

/**
 * The task `http.request`: calls an endpoint. Inputs: `url`; `method`, default GET; `headers`; `body`, a string, or anything else as
 * JSON; `expectedStatus`, one or a list, default any of 200 to 299; `timeoutSeconds`, default 30, at most 60. The request carries
 * the run's name as `Idempotency-Key`. The output holds `status`, the last 8 KiB of the `body` and the number of `omittedBytes`
 * before it. Another status fails the attempt; 400 to 499 but 408, 425 and 429 for good.
 */
export function requestHttp({ clock }: RequestHttpOptions): TaskHandler {
  return async (context) => {
    const request = readRequest(context);
    const { status, body } = await send(request, context, clock);
    const output = { values: { status, body: body.toString(), omittedBytes: body.omitted } };
    if (request.expectedStatus?.includes(status) ?? (status >= 200 && status <= 299)) return output;
    const message = `${request.method} ${request.url.origin}${request.url.pathname} answered with status ${status}`;
    throw new TaskError('HTTP_STATUS', message, { permanent: isFinal(status), output });
  };
}

function readRequest({ run }: TaskContext): Request {
  const values = inputValues(run);
  const { url, method = 'GET', body } = values;
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw invalidInput('url', 'an http or https URL');
  // fetch refuses them, and messages would show them.
  if (parsed.username !== '' || parsed.password !== '') throw invalidInput('url', 'free of credentials');
  if (typeof method !== 'string' || !METHODS.has(method)) {
    throw invalidInput('method', `one of ${[...METHODS].join(', ')}`);
  }
  if (body !== undefined && (method === 'GET' || method === 'HEAD')) {
    throw invalidInput('body', `left out of a ${method}`);
  }
  const json = body !== undefined && typeof body !== 'string';
  const headers = new Headers({ 'idempotency-key': run.name });
  if (json) headers.set('content-type', 'application/json');
  for (const [name, value] of stringMap('headers', values.headers)) setHeader(headers, name, value);
  return {
    method,
    url: parsed,
    headers,
    body: json ? JSON.stringify(body) : body,
    expectedStatus: readStatuses(values.expectedStatus),
    timeoutSeconds: readTimeout(values.timeoutSeconds),
  };
}

function setHeader(headers: Headers, name: string, value: string): void {
  try {
    headers.set(name, value);
  } catch (error) {
    if (error instanceof TypeError) throw invalidInput(`headers.${name}`, 'a header of HTTP');
    throw error;
  }
}

function readStatuses(value: JsonValue | undefined): number[] | undefined {
  if (value === undefined) return undefined;
  return (Array.isArray(value) ? value : [value]).map((status) => {
    if (typeof status === 'number' && Number.isInteger(status) && status >= 200 && status <= 599)
      return status;
    throw invalidInput('expectedStatus', 'a status from 200 to 599, or a list of them');
  });
}

function readTimeout(value: JsonValue | undefined): number {
  if (value === undefined) return DEFAULT_TIMEOUT_SECONDS;
  if (typeof value === 'number' && value > 0 && value <= MAX_TIMEOUT_SECONDS) return value;
  throw invalidInput('timeoutSeconds', `above 0 and at most ${MAX_TIMEOUT_SECONDS}`);
}

async function send(
  request: Request,
  { signal }: TaskContext,
  clock: Clock,
): Promise<{ status: number; body: OutputTail }> {
  const { url, method, headers, timeoutSeconds } = request;
  const late = new AbortController();
  const timer = clock.after(timeoutSeconds * 1000, () => late.abort());
  try {
    const response = await fetch(url, {
      method,
      headers,
      body: request.body ?? null,
      redirect: 'follow',
      signal: AbortSignal.any([signal, late.signal]),
    });
    return { status: response.status, body: await readTail(response) };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TaskError) throw error;
    if (late.signal.aborted) {
      throw new TaskError('HTTP_TIMEOUT', `${url.origin} took longer than ${timeoutSeconds} s`);
    }
    // fetch says that it failed, and why in the cause.
    const cause =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new TaskError('UNREACHABLE', `${url.origin} could not be asked: ${cause}`, { cause: error });
  } finally {
    timer.cancel();
  }
}

async function readTail(response: Response): Promise<OutputTail> {
  const tail = new OutputTail(TAIL_BYTES);
  let bytes = 0;
  // Leaving the loop cancels the rest.
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) {
      throw new TaskError('ANSWER_TOO_LARGE', `the answer has more than ${MAX_ANSWER_BYTES} bytes`, {
        permanent: true,
      });
    }
    tail.push(chunk);
  }
  return tail;
}

function isFinal(status: number): boolean {
  return status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}
