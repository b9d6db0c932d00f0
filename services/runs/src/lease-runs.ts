import { durationMs } from '@bufbuild/protobuf/wkt';
import { callOf } from '@carillon/server';
import { timestampOfMicros } from '@carillon/server/epoch-timestamp.ts';
import { formatLeaseToken } from './lease-token.ts';
import { DEFAULT_QUEUE } from './new-run.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, WorkerMethod } from './run-method.ts';

/** Leases queued runs; waits for one if none is ready. */
export function leaseRuns({ dispatcher }: MethodContext): WorkerMethod<'leaseRuns'> {
  return async ({ worker, queues, maxRuns, wait }, context) => {
    const leased = await dispatcher.lease({
      worker,
      queues: queues.length === 0 ? [DEFAULT_QUEUE] : queues,
      limit: Math.max(1, maxRuns),
      waitMs: wait === undefined ? 0 : durationMs(wait),
      signal: context.signal,
      draining: callOf(context).draining,
    });
    return {
      leases: leased.map((row) => ({
        run: runMessage(row),
        leaseToken: formatLeaseToken({ token: row.lease_token, day: row.day }),
        expireTime: timestampOfMicros(row.expire_micros),
        attemptDeadline: timestampOfMicros(row.deadline_micros),
      })),
    };
  };
}
