import { failedPrecondition, invalidArgument } from '@carillon/core/domain-error.ts';
import type { DeadSlot } from '@carillon/db/tables/slot-redrives.ts';
import type { ScheduleSpec } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { policiesOf } from '@carillon/server/schedule-spec-message.ts';

const DAY_MS = 86_400_000;

/**
 * Holds how long slots of a checked spec may wait against how long runs are kept: a slot that old is never sent, for its run may exist and have been
 * dropped. A day is left for telling what became of the last attempt.
 *
 * @throws {DomainError} INVALID_ARGUMENT, reason WINDOW_BEYOND_RETENTION, at the window of the spec that stands at `path`.
 */
export function requireWindowWithin(runRetentionDays: number, spec: ScheduleSpec, path: string): void {
  const { catchUpWindowMs, jitterSeconds } = policiesOf(spec);
  const mostDays = runRetentionDays - 1;
  if (catchUpWindowMs + jitterSeconds * 1000 <= mostDays * DAY_MS) return;
  throw invalidArgument({
    field: `${path}.catch_up.window`,
    description: `must be at most ${mostDays} days, less the jitter: runs are kept for ${runRetentionDays} days`,
    reason: 'WINDOW_BEYOND_RETENTION',
  });
}

/**
 * Refuses redrives of slots whose runs, if they had any, may have been dropped.
 *
 * @throws {DomainError} FAILED_PRECONDITION, reason BEYOND_RETENTION.
 */
export function requireKeptRuns(runRetentionDays: number, slots: readonly DeadSlot[], nowMs: number): void {
  const horizonMs = nowMs - runRetentionDays * DAY_MS;
  const old = slots.find(({ nominalMs }) => nominalMs < horizonMs);
  if (old === undefined) return;
  const nominalTime = new Date(old.nominalMs).toISOString();
  throw failedPrecondition(
    'BEYOND_RETENTION',
    `runs are kept for ${runRetentionDays} days, so whether ${nominalTime} has one can no longer be told; ask for slots after ${new Date(horizonMs).toISOString()}`,
    { nominalTime },
  );
}
