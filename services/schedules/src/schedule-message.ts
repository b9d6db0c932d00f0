import { create } from '@bufbuild/protobuf';
import { formatScheduleName, type ScheduleName } from '@carillon/core/resource-name.ts';
import type { RevisionRow } from '@carillon/db/tables/schedule-revisions.ts';
import type { ScheduleView } from '@carillon/db/tables/schedule-views.ts';
import {
  PauseSchema,
  type Schedule,
  type ScheduleRevision,
  ScheduleRevisionSchema,
  ScheduleSchema,
  ScheduleState,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { timestampOfMicros } from '@carillon/server/epoch-timestamp.ts';
import { scheduleSpecOf } from '@carillon/server/schedule-spec-message.ts';

/** The name of a schedule that was read. */
export function nameOf(view: ScheduleView): ScheduleName {
  return { project: view.project, domain: view.domain, scheduleId: view.schedule_id };
}

/** A schedule as its callers see it, without its status. */
export function scheduleMessage(view: ScheduleView): Schedule {
  const message = create(ScheduleSchema, {
    name: formatScheduleName(nameOf(view)),
    uid: view.uid,
    description: view.description,
    labels: view.labels,
    spec: scheduleSpecOf(view),
    revision: view.revision,
    activeRevision: view.active_revision ?? 0,
    state: stateOf(view),
    generation: view.generation,
    etag: etagOf(view),
    createTime: timestampOfMicros(view.create_micros),
    updateTime: timestampOfMicros(view.update_micros),
  });
  if (view.delete_micros !== null) message.deleteTime = timestampOfMicros(view.delete_micros);
  if (view.pause_micros !== null) {
    message.pause = create(PauseSchema, {
      actor: view.pause_actor ?? '',
      pauseTime: timestampOfMicros(view.pause_micros),
      reason: view.pause_reason ?? '',
    });
  }
  return message;
}

/** The etag of a schedule that was read. */
export function etagOf(view: Pick<ScheduleView, 'generation'>): string {
  return String(view.generation);
}

/** A revision as its callers see it. */
export function revisionMessage(name: ScheduleName, row: RevisionRow): ScheduleRevision {
  return create(ScheduleRevisionSchema, {
    schedule: formatScheduleName(name),
    revision: row.revision,
    spec: scheduleSpecOf(row),
    createTime: timestampOfMicros(row.create_micros),
    actor: row.actor,
  });
}

function stateOf(view: ScheduleView): ScheduleState {
  if (view.delete_micros !== null) return ScheduleState.DELETED;
  switch (view.span_state) {
    case 'ACTIVE':
      return ScheduleState.ACTIVE;
    case 'PAUSED':
      return ScheduleState.PAUSED;
    case null:
      return ScheduleState.INACTIVE;
  }
}
