import { fnv1a32 } from './fnv.ts';
import type { ScheduleName } from './resource-name.ts';
import { scheduleIdentity } from './schedule-spec.ts';

/** How many hash slots there are: the units in which schedules are owned by schedulers. */
export const HASH_SLOTS = 1024;

/**
 * The hash slot of a schedule, 0 to 1023: a function of its name, so that every incarnation has the same.
 * It is stored with the schedule, and never changes: FNV-1a 32, mixed so that its low bits depend on all of it.
 */
export function hashSlot(name: ScheduleName): number {
  let value = fnv1a32(scheduleIdentity(name));
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) & (HASH_SLOTS - 1);
}
