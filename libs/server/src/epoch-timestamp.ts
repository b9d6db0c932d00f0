import { create } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';

/** The Timestamp of whole epoch seconds. */
export function timestampOfSeconds(seconds: number): Timestamp {
  return create(TimestampSchema, { seconds: BigInt(seconds) });
}

/** The Timestamp of epoch microseconds, which is what PostgreSQL keeps of a time. */
export function timestampOfMicros(micros: number): Timestamp {
  const seconds = Math.floor(micros / 1_000_000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (micros - seconds * 1_000_000) * 1000 });
}

/** The epoch microseconds of a Timestamp; what is below a microsecond is cut off. */
export function microsOfTimestamp({ seconds, nanos }: Timestamp): number {
  return Number(seconds) * 1_000_000 + Math.floor(nanos / 1000);
}
