import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import type { FieldViolation } from '@carillon/core/domain-error.ts';

/** The units that times of the API are counted in. */
export type TimeUnit = 'seconds' | 'milliseconds';

const NANOS: Readonly<Record<TimeUnit, number>> = { seconds: 1_000_000_000, milliseconds: 1_000_000 };

/** A violation when a duration is not a whole number of the unit. */
export function durationViolations(
  duration: Duration | undefined,
  field: string,
  unit: TimeUnit,
): FieldViolation[] {
  return wholeViolations(duration?.nanos ?? 0, field, unit);
}

/** A violation when a timestamp is not a whole number of the unit. */
export function timestampViolations(
  time: Timestamp | undefined,
  field: string,
  unit: TimeUnit,
): FieldViolation[] {
  return wholeViolations(time?.nanos ?? 0, field, unit);
}

function wholeViolations(nanos: number, field: string, unit: TimeUnit): FieldViolation[] {
  if (nanos % NANOS[unit] === 0) return [];
  return [{ field, description: `must be in whole ${unit}`, reason: `WHOLE_${unit.toUpperCase()}` }];
}
