// Every module can also be imported by its own name, as in `@carillon/core/filter.ts`.
export { ExclusionCalendar, type ExclusionCalendarSpec, type WeeklyExclusion } from './calendar-exclusion.ts';
export { type CalendarIntervalSpec, MAX_INTERVAL, type Weekday } from './calendar-interval.ts';
export {
  type Filter,
  type FilterOperator,
  type FilterTerm,
  type FilterValue,
  filterError,
  MAX_FILTER_TERMS,
  parseFilter,
} from './filter.ts';
export { HASH_SLOTS, hashSlot } from './hash-slot.ts';
export { dueTime, jitterMs, MAX_JITTER_SECONDS } from './jitter.ts';
export { decodePageToken, effectivePageSize, encodePageToken, MAX_PAGE_SIZE } from './page-token.ts';
export { compileRecurrence, type Recurrence } from './recurrence.ts';
export { type BatchError, type BatchRequest, MAX_BATCH_COUNT, previewBatchLine } from './recurrence-batch.ts';
export { isComplete, remainingAfter, startableActions } from './recurrence-completion.ts';
export { SpecError, type SpecErrorKind, type SpecFault } from './recurrence-error.ts';
export { type PreviewRange, type PreviewSlot, previewSlots } from './recurrence-preview.ts';
export type { Slots } from './recurrence-slots.ts';
export type {
  CronDialect,
  CronSpec,
  DstGap,
  DstOverlap,
  OneShotSpec,
  RateSpec,
  RecurrenceBounds,
  RecurrencePattern,
  RecurrenceSpec,
} from './recurrence-spec.ts';
export type { DstEffect } from './recurrence-wall.ts';
export {
  formatParent,
  formatRunName,
  formatScheduleName,
  type Parent,
  type ParentPattern,
  parseParent,
  parseParentPattern,
  parseRunName,
  parseScheduleName,
  type RunName,
  type ScheduleName,
} from './resource-name.ts';
export { parseRfc3339 } from './rfc3339.ts';
export { rateAnchorSec, type SchedulePolicies, scheduleIdentity } from './schedule-spec.ts';
export { MAX_HANDLE, TimerQueue } from './timer-queue.ts';
export { ZONE_DATABASE_VERSION } from './zone/database-version.ts';
export { findZone, type Zone } from './zone/zone.ts';
