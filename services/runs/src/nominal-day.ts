import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { invalidArgument } from '@carillon/core/domain-error.ts';
import { utcDay } from '@carillon/db/partitions.ts';
import { microsOfTimestamp } from '@carillon/server/epoch-timestamp.ts';

/** The first instant of the year 2200 in microseconds: no time in the API lies beyond it. */
export const END_OF_TIME_MICROS = 7_258_118_400_000_000;

/** The day on which a run of this nominal time stands. @throws {DomainError} INVALID_ARGUMENT at `field` for a time that no run has. */
export function nominalDay(time: Timestamp, field: string): string {
  const micros = microsOfTimestamp(time);
  if (micros >= 0 && micros < END_OF_TIME_MICROS) return utcDay(micros);
  throw invalidArgument({ field, description: 'must be a time from 1970 to 2199', reason: 'NOMINAL_TIME' });
}
