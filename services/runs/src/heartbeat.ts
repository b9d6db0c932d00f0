import { extendLeases } from '@carillon/db/tables/run-leases.ts';
import { touchWorker } from '@carillon/db/tables/workers.ts';
import { callOf, toStatus } from '@carillon/server';
import { timestampOfMicros } from '@carillon/server/epoch-timestamp.ts';
import { leaseId, leaseLost, parseLeaseRef } from './lease-token.ts';
import type { MethodContext, WorkerMethod } from './run-method.ts';

/** Extends leases, and tells which of their runs shall stop. */
export function heartbeat({ db, leaseTtlMs, metrics }: MethodContext): WorkerMethod<'heartbeat'> {
  return async ({ worker, leases }, context) => {
    const held = leases.map((lease, index) => parseLeaseRef(lease, `leases[${index}]`));
    const extended = new Map(
      (
        await extendLeases(
          db,
          held.filter((lease) => lease !== undefined),
          leaseTtlMs,
        )
      ).map((lease) => [leaseId(lease), lease]),
    );
    await touchWorker(db, worker);
    const { requestId, logger } = callOf(context);
    return {
      results: leases.map(({ run }, index) => {
        const named = held[index];
        const lease = named && extended.get(leaseId(named));
        if (lease === undefined) {
          metrics.staleToken('Heartbeat');
          return { error: toStatus(leaseLost(run), { requestId, logger }) };
        }
        return { expireTime: timestampOfMicros(lease.expire_micros), abort: lease.abort_requested };
      }),
    };
  };
}
