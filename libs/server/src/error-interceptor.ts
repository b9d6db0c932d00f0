import { DomainError } from '@carillon/core/domain-error.ts';
import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamRequest,
  type UnaryRequest,
} from '@connectrpc/connect';
import { callKey, codeName } from './call.ts';
import type { Logger } from './logger.ts';
import { toRefusal } from './status.ts';

/**
 * The outermost interceptor: maps every error once (see `toRefusal`), and notes on the call how it ended.
 * What fails because the call was cut off is that cut, not an error: CANCELED, DEADLINE_EXCEEDED, or the drain's
 * UNAVAILABLE.
 */
export function errorInterceptor(options: { readonly logger: Logger }): Interceptor {
  return (next) => async (request) => {
    const call = request.contextValues.get(callKey);
    const scene = { requestId: call?.requestId ?? 'none', logger: options.logger };
    const refuse = (thrown: unknown): ConnectError => {
      const { error, reason } = toRefusal(cutOff(request, thrown) ?? thrown, scene);
      if (call !== undefined) {
        call.code = codeName(error.code);
        call.reason = reason;
      }
      return error;
    };
    try {
      const response = await next(request);
      if (!response.stream) {
        if (call !== undefined) call.code = 'OK';
        return response;
      }
      return { ...response, message: watched(response.message) };
    } catch (thrown) {
      throw refuse(thrown);
    }

    async function* watched<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
      if (call !== undefined) call.code = 'CANCELED';
      try {
        yield* messages;
        if (call !== undefined) call.code = 'OK';
      } catch (thrown) {
        throw refuse(thrown);
      }
    }
  };
}

/** The reason why the call was cut off, if it was and if that is why `thrown` was thrown. */
function cutOff({ signal }: UnaryRequest | StreamRequest, thrown: unknown): ConnectError | undefined {
  if (!signal.aborted) return isAbort(thrown) ? canceled() : undefined;
  const { reason } = signal;
  const isConsequence =
    thrown === reason || !(thrown instanceof ConnectError || thrown instanceof DomainError);
  if (!isConsequence) return undefined;
  // Deadlines and our own shutdown say what they are; a peer's reset comes with whatever code its HTTP/2 stack chose.
  const isOurs = reason instanceof ConnectError && OUR_CUTS.includes(reason.code);
  return isOurs ? reason : canceled();
}

const OUR_CUTS: readonly Code[] = [Code.DeadlineExceeded, Code.Unavailable];

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'AbortError';
}

function canceled(): ConnectError {
  return new ConnectError('the call was canceled', Code.Canceled);
}
