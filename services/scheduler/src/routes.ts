import { SchedulerService } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect';
import { getStatus, type StatusOptions } from './get-status.ts';
import { type HandOverOptions, handOver } from './hand-over.ts';

/** The operators' side. A method that is missing here does not compile. */
export function schedulerRoutes(options: HandOverOptions & StatusOptions): (router: ConnectRouter) => void {
  const methods: ServiceImpl<typeof SchedulerService> = {
    getStatus: getStatus(options),
    handOver: handOver(options),
  };
  return (router) => {
    router.service(SchedulerService, methods);
  };
}
