import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { registerWorker as writeWorker } from '@carillon/db/tables/workers.ts';
import { DEFAULT_QUEUE } from './new-run.ts';
import type { MethodContext, WorkerMethod } from './run-method.ts';

/** Two heartbeats may be lost before a lease runs out. */
const HEARTBEATS_PER_LEASE = 3;

/** Makes a worker known, and tells it how to behave. */
export function registerWorker({ db, leaseTtlMs }: MethodContext): WorkerMethod<'registerWorker'> {
  return async ({ worker, queues, slots, version }) => {
    await writeWorker(db, {
      worker,
      queues: queues.length === 0 ? [DEFAULT_QUEUE] : queues,
      slots: Math.max(1, slots),
      version,
    });
    return {
      leaseTtl: durationFromMs(leaseTtlMs),
      heartbeatInterval: durationFromMs(Math.floor(leaseTtlMs / HEARTBEATS_PER_LEASE)),
    };
  };
}
