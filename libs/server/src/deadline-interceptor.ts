import type { Clock } from '@carillon/core/clock.ts';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { callKey } from './call.ts';
import type { Logger } from './logger.ts';

/** The headers by which the three protocols say how long the caller waits. */
const TIMEOUT_HEADERS = ['connect-timeout-ms', 'grpc-timeout'];

/**
 * Every call ends in time. Unary calls: at the caller's deadline, or after `defaultTimeoutMs` when it named none, even
 * if the handler does not look at its signal. Streams: at the caller's deadline, or when the server begins to drain.
 */
export function deadlineInterceptor(options: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly defaultTimeoutMs: number;
}): Interceptor {
  return (next) => async (request) => {
    const cut = new AbortController();
    const onAbort = (): void => cut.abort(request.signal.reason);
    if (request.signal.aborted) onAbort();
    request.signal.addEventListener('abort', onAbort, { once: true });

    if (!request.stream) {
      const bounded = TIMEOUT_HEADERS.some((name) => request.header.has(name));
      const timer = bounded
        ? undefined
        : options.clock.after(options.defaultTimeoutMs, () =>
            cut.abort(new ConnectError('the operation timed out', Code.DeadlineExceeded)),
          );
      try {
        return await beforeAbort(next({ ...request, signal: cut.signal }), cut.signal, options.logger);
      } finally {
        timer?.cancel();
        request.signal.removeEventListener('abort', onAbort);
      }
    }

    const draining = request.contextValues.get(callKey)?.draining;
    const onDrain = (): void => cut.abort(new ConnectError('the server is shutting down', Code.Unavailable));
    if (draining?.aborted) onDrain();
    draining?.addEventListener('abort', onDrain, { once: true });
    const release = (): void => {
      request.signal.removeEventListener('abort', onAbort);
      draining?.removeEventListener('abort', onDrain);
    };
    try {
      const response = await beforeAbort(
        next({ ...request, signal: cut.signal }),
        cut.signal,
        options.logger,
      );
      if (!response.stream) throw new Error('a stream was answered by a single message');
      return { ...response, message: untilAbort(response.message, cut.signal, release, options.logger) };
    } catch (error) {
      release();
      throw error;
    }
  };
}

async function* untilAbort<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
  release: () => void,
  logger: Logger,
): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let finished = false;
  try {
    for (;;) {
      const next = await beforeAbort(iterator.next(), signal, logger);
      if (next.done) {
        finished = true;
        return;
      }
      yield next.value;
    }
  } finally {
    release();
    // A generator that ignores its signal stays at its await for now; nobody waits for it any more.
    if (!finished) {
      iterator
        .return?.()
        .catch((error: unknown) => logger.debug({ err: error }, 'error after the end of its call'));
    }
  }
}

/** The promise's outcome, or the signal's reason if that comes first; an error that comes later is logged. */
function beforeAbort<T>(promise: Promise<T>, signal: AbortSignal, logger: Logger): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise
      .then(resolve, (error: unknown) => {
        reject(error);
        if (signal.aborted && error !== signal.reason)
          logger.debug({ err: error }, 'error after the end of its call');
      })
      .finally(() => signal.removeEventListener('abort', onAbort));
  });
}
