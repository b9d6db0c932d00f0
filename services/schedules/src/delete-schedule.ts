import { DomainError } from '@carillon/core/domain-error.ts';
import { parseScheduleName } from '@carillon/core/resource-name.ts';
import { scheduleMessage } from './schedule-message.ts';
import { type MethodContext, type ScheduleMethod, writeOptions } from './schedule-method.ts';
import type { CurrentSchedule, ScheduleEdit } from './schedule-store.ts';

/** Deletes a schedule; its runs and its history stay. */
export function deleteSchedule({ store }: MethodContext): ScheduleMethod<'deleteSchedule'> {
  return async (request, context) => {
    const name = parseScheduleName(request.name);
    try {
      const { view } = await store.change(name, writeOptions(context, request.etag), deletion);
      return { schedule: scheduleMessage(view) };
    } catch (error) {
      if (request.allowMissing && error instanceof DomainError && error.kind === 'NOT_FOUND') return {};
      throw error;
    }
  };
}

function deletion({ view }: CurrentSchedule): ScheduleEdit {
  return { deleted: true, span: view.span_state === null ? undefined : { end: 'DELETED' } };
}
