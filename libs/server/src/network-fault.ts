import { Code, ConnectError } from '@connectrpc/connect';

/** Node's codes for a connection that could not be made, or broke. */
const SOCKET_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/**
 * What a failed call means for its caller. connect-node reports a broken connection as ABORTED, INTERNAL or CANCELED,
 * depending on the moment; all of these become UNAVAILABLE. Answers of the server, deadlines, and our own cancel
 * (`signal`) stay what they are.
 */
export function toNetworkFault(thrown: unknown, signal: AbortSignal | undefined): unknown {
  if (!(thrown instanceof ConnectError) || signal?.aborted) return thrown;
  const broken = thrown.code === Code.Canceled || hasSocketCode(thrown.cause);
  if (!broken || thrown.code === Code.Unavailable || thrown.code === Code.DeadlineExceeded) return thrown;
  return new ConnectError(thrown.rawMessage, Code.Unavailable, undefined, undefined, thrown);
}

function hasSocketCode(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 4) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (SOCKET_CODES.has(code) || code.startsWith('ERR_HTTP2_') || code.startsWith('HPE_')) return true;
  return hasSocketCode(error.cause, depth + 1);
}
