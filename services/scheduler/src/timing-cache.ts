import { fromBinary } from '@bufbuild/protobuf';
import { compileRecurrence } from '@carillon/core/recurrence.ts';
import { DEFAULT_CATCH_UP_WINDOW_MS, rateAnchorSec } from '@carillon/core/schedule-spec.ts';
import { ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { policiesOf, recurrenceSpecOf } from '@carillon/server/schedule-spec-message.ts';
import type { UnreadableSpan } from './schedule-record.ts';
import type { Timing } from './timing.ts';

/** How many timings are kept for those who will ask for the same. */
const MAX_ENTRIES = 200_000;

/** Compiled timings by the bytes of their specs: a million schedules have far fewer different ones. */
export class TimingCache {
  readonly #timings = new Map<string, Timing>();

  /**
   * The timing of a revision.
   *
   * @param bytes its ScheduleSpec without the run, in the protobuf binary form
   * @param identity `project/domain/schedule`
   * @param anchorMs the first activation; null before it
   * @throws {Error} if the bytes are no such message, and SpecError if no slots can be computed from it
   */
  get(bytes: Uint8Array, identity: string, anchorMs: number | null): Timing {
    const key = `${anchorMs ?? ''} ${Buffer.from(bytes).toString('latin1')}`;
    const shared = this.#timings.get(key);
    if (shared) return shared;
    const spec = fromBinary(ScheduleSpecSchema, bytes);
    const anchorSec = rateAnchorSec(anchorMs ?? 0);
    const { jitterSeconds, catchUpWindowMs, catchUpPolicy, catchUpLimit, overlapPolicy, overlapLimit } =
      policiesOf(spec);
    const timing: Timing = {
      recurrence: compileRecurrence(recurrenceSpecOf(spec, anchorSec), identity),
      jitterSec: jitterSeconds,
      identity,
      catchUpWindowMs,
      catchUpPolicy,
      catchUpLimit: catchUpLimit === 0 ? Number.POSITIVE_INFINITY : catchUpLimit,
      overlap:
        overlapPolicy === 'ALLOW' && overlapLimit === 0
          ? undefined
          : { policy: overlapPolicy, limit: overlapLimit },
      nominalTimeInput: spec.nominalTimeInput,
    };
    if (dependsOnIdentity(spec.pattern.case === 'cron' ? spec.pattern.value.expression : '', jitterSeconds))
      return timing;
    if (this.#timings.size >= MAX_ENTRIES) this.#timings.clear();
    this.#timings.set(key, timing);
    return timing;
  }

  /** What can be said of a revision that {@link get} makes nothing of: its policies, if these can be read, else those of a spec that names none. */
  boundsOf(bytes: Uint8Array): Pick<UnreadableSpan, 'jitterMs' | 'catchUpWindowMs'> {
    try {
      const { jitterSeconds, catchUpWindowMs } = policiesOf(fromBinary(ScheduleSpecSchema, bytes));
      return { jitterMs: jitterSeconds * 1000, catchUpWindowMs };
    } catch {
      return { jitterMs: 0, catchUpWindowMs: DEFAULT_CATCH_UP_WINDOW_MS };
    }
  }
}

/** Whether the slots or their jitter are hashed from the schedule's identity. A wrong yes costs memory only. */
function dependsOnIdentity(expression: string, jitterSec: number): boolean {
  return jitterSec > 0 || /(^|[\s,])H/i.test(expression);
}
