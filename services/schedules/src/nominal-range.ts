import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { invalidArgument } from '@carillon/core/domain-error.ts';

/** Nominal times in whole epoch seconds, both inclusive. */
export interface NominalRange {
  readonly firstSec: number;
  readonly lastSec: number;
}

/**
 * The nominal times from one instant through another: from the beginning and to `nowMs` unless they are given. `path` is where they stand
 * in the request, with a dot behind it.
 *
 * @throws {DomainError} INVALID_ARGUMENT if the second lies before the first.
 */
export function nominalRange(
  fromTime: Timestamp | undefined,
  toTime: Timestamp | undefined,
  nowMs: number,
  path = '',
): NominalRange {
  const firstSec = fromTime === undefined ? 0 : Number(fromTime.seconds) + (fromTime.nanos > 0 ? 1 : 0);
  const lastSec = toTime === undefined ? Math.floor(nowMs / 1000) : Number(toTime.seconds);
  if (fromTime !== undefined && toTime !== undefined && isBefore(toTime, fromTime)) {
    throw invalidArgument({
      field: `${path}to_time`,
      description: 'must not be before from_time',
      reason: 'RANGE',
    });
  }
  return { firstSec, lastSec };
}

function isBefore(a: Timestamp, b: Timestamp): boolean {
  return a.seconds === b.seconds ? a.nanos < b.nanos : a.seconds < b.seconds;
}
