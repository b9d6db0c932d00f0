import type { Clock } from '@carillon/core/clock.ts';
import type { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { callOf, type RequestValidator } from '@carillon/server';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { ScheduleStore, WriteOptions } from './schedule-store.ts';
import type { SlotHistory } from './slot-history.ts';

/** What every method of ScheduleService works with. */
export interface MethodContext {
  readonly store: ScheduleStore;
  readonly slots: SlotHistory;
  readonly clock: Clock;
  readonly validator: RequestValidator;
  /** For how many days runs are kept after their nominal time. */
  readonly runRetentionDays: number;
}

/** One method of ScheduleService, by its name. */
export type ScheduleMethod<Name extends keyof ServiceImpl<typeof ScheduleService>> = ServiceImpl<
  typeof ScheduleService
>[Name];

/** The options of a write that a call makes. */
export function writeOptions(context: HandlerContext, etag: string, validateOnly = false): WriteOptions {
  return { actor: callOf(context).principal.subject, etag, validateOnly };
}
