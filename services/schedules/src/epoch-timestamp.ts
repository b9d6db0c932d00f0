import { create } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';

/** The Timestamp of whole epoch seconds. */
export function timestampOfSeconds(seconds: number): Timestamp {
  return create(TimestampSchema, { seconds: BigInt(seconds) });
}

/** The Timestamp of epoch microseconds. */
export function timestampOfMicros(micros: number): Timestamp {
  const seconds = Math.floor(micros / 1_000_000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: (micros - seconds * 1_000_000) * 1000 });
}
