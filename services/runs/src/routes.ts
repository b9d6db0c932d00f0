import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { abortRun } from './abort-run.ts';
import { batchCreateRuns } from './batch-create-runs.ts';
import { batchGetRuns } from './batch-get-runs.ts';
import { completeRun } from './complete-run.ts';
import { createRun } from './create-run.ts';
import { failRun } from './fail-run.ts';
import { getRun } from './get-run.ts';
import { heartbeat } from './heartbeat.ts';
import { leaseRuns } from './lease-runs.ts';
import { listRuns } from './list-runs.ts';
import { registerWorker } from './register-worker.ts';
import type { MethodContext } from './run-method.ts';
import { watchRuns } from './watch-runs.ts';

/** The largest request: a batch whose inputs are large. Senders cut batches to it. */
const READ_MAX_BYTES = 16 * 1024 * 1024;

/** Registers the RPCs of the runs service. All of them are typed, so that a missing method does not compile. */
export function runRoutes(context: MethodContext): (router: ConnectRouter) => void {
  const runs: ServiceImpl<typeof RunService> = {
    createRun: createRun(context),
    batchCreateRuns: batchCreateRuns(context),
    getRun: getRun(context),
    batchGetRuns: batchGetRuns(context),
    listRuns: listRuns(context),
    watchRuns: watchRuns(context),
    abortRun: abortRun(context),
  };
  const workers: ServiceImpl<typeof WorkerService> = {
    registerWorker: registerWorker(context),
    leaseRuns: leaseRuns(context),
    heartbeat: heartbeat(context),
    completeRun: completeRun(context),
    failRun: failRun(context),
  };
  return (router) => {
    router.service(RunService, runs, { readMaxBytes: READ_MAX_BYTES });
    router.service(WorkerService, workers);
  };
}
