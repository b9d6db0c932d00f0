import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { compileRecurrence, type Recurrence } from '@carillon/core/recurrence.ts';
import { SpecError } from '@carillon/core/recurrence-error.ts';
import { type PreviewSlot, previewSlots } from '@carillon/core/recurrence-preview.ts';
import { rateAnchorSec } from '@carillon/core/schedule-spec.ts';
import { ZONE_DATABASE_VERSION } from '@carillon/core/zone/database-version.ts';
import type { ScheduleSpec } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import {
  DstEffect,
  type PreviewedSlot,
  PreviewedSlotSchema,
  type PreviewScheduleResponse,
  PreviewScheduleResponseSchema,
  type ScheduleService,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { policiesOf, recurrenceSpecOf } from '@carillon/server/schedule-spec-message.ts';
import { type Connection, reach } from '../connection.ts';
import { usageError } from '../exit-code.ts';

/** Which slots to preview. */
export interface PreviewQuery {
  /** Exclusive. */
  readonly from: Timestamp;
  /** Inclusive. */
  readonly to: Timestamp | undefined;
  readonly count: number;
  /** Whether times that exclusion calendars take away are listed too, named by `excludedBy`, and count. */
  readonly showExcluded: boolean;
}

/** Answers previews, from a server or from here. */
export type PreviewSource = (query: PreviewQuery) => Promise<PreviewScheduleResponse>;

/** Previews of an existing schedule. */
export function serverPreview(connection: Connection<typeof ScheduleService>, name: string): PreviewSource {
  const { client, call } = connection;
  return ({ from, to, count, showExcluded }) =>
    reach(
      connection,
      client.previewSchedule(
        {
          source: { case: 'name', value: name },
          fromTime: from,
          ...(to === undefined ? {} : { toTime: to }),
          count,
          showExcluded,
        },
        call,
      ),
    );
}

/**
 * Previews of a spec that exists nowhere, by the same engine and without a server. A rate without a start begins now.
 * @throws CliError for a spec that can never fire, or is none.
 */
export function localPreview(spec: ScheduleSpec, nowMs: number): PreviewSource {
  const recurrence = compile(spec, nowMs);
  const { jitterSeconds } = policiesOf(spec);
  return async ({ from, to, count, showExcluded }) => {
    const range = {
      after: timestampMs(from) / 1_000,
      until: to === undefined ? undefined : timestampMs(to) / 1_000,
      // One more tells whether there are more.
      limit: count + 1,
      jitterSeconds,
      showExcluded,
    };
    const slots = [...previewSlots(recurrence, '', range)];
    return create(PreviewScheduleResponseSchema, {
      slots: slots.slice(0, count).map(slotMessage),
      recurrence: recurrence.describe(),
      truncated: slots.length > count,
      timeZoneDatabaseVersion: ZONE_DATABASE_VERSION,
    });
  };
}

function compile(spec: ScheduleSpec, nowMs: number): Recurrence {
  try {
    return compileRecurrence(recurrenceSpecOf(spec, rateAnchorSec(nowMs)), '');
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    throw usageError(error.message, ...pointer(spec, error));
  }
}

/** The expression with a mark below the column at fault. */
function pointer({ pattern }: ScheduleSpec, { column }: SpecError): string[] {
  if (pattern.case !== 'cron' || column === undefined) return [];
  return [pattern.value.expression, `${' '.repeat(column - 1)}^`];
}

function slotMessage(slot: PreviewSlot): PreviewedSlot {
  const { nominal, dueMs, local, offsetSeconds, dstEffect, excludedBy } = slot;
  return create(PreviewedSlotSchema, {
    nominalTime: timestampFromMs(nominal * 1_000),
    dueTime: timestampFromMs(dueMs),
    localTime: local + offsetText(offsetSeconds),
    dstEffect: DST_EFFECTS[dstEffect],
    excludedBy: excludedBy ?? '',
  });
}

const DST_EFFECTS: Readonly<Record<PreviewSlot['dstEffect'], DstEffect>> = {
  NONE: DstEffect.UNSPECIFIED,
  MOVED: DstEffect.MOVED,
  FIRST_PASS: DstEffect.FIRST_OF_TWO,
  SECOND_PASS: DstEffect.SECOND_OF_TWO,
};

/** As RFC 3339 writes it; the seconds of old local mean times have no place there. */
function offsetText(offsetSeconds: number): string {
  if (offsetSeconds === 0) return 'Z';
  const minutes = Math.floor(Math.abs(offsetSeconds) / 60);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${offsetSeconds < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
