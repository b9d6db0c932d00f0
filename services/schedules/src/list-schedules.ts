import { parseFilter } from '@carillon/core/filter.ts';
import { effectivePageSize, encodePageToken } from '@carillon/core/page-token.ts';
import { parseParentPattern } from '@carillon/core/resource-name.ts';
import { type FilterFields, filterSql } from '@carillon/db/filter-sql.ts';
import { scheduleViewFields } from '@carillon/db/tables/schedule-views.ts';
import { MAX_PAGE_BYTES } from './page-bytes.ts';
import { scheduleMessage } from './schedule-message.ts';
import type { MethodContext, ScheduleMethod } from './schedule-method.ts';
import { listOrder } from './schedule-order.ts';

const STATES = new Map(['ACTIVE', 'PAUSED', 'INACTIVE', 'DELETED'].map((word) => [word, word]));

const FILTER_FIELDS: FilterFields = new Map([
  ['schedule_id', { kind: 'text', sql: scheduleViewFields.schedule_id }],
  ['state', { kind: 'word', sql: scheduleViewFields.state, words: STATES }],
  ['task', { kind: 'text', sql: scheduleViewFields.task }],
  ['time_zone', { kind: 'text', sql: scheduleViewFields.time_zone }],
  ['create_time', { kind: 'time', sql: scheduleViewFields.create_time }],
  ['update_time', { kind: 'time', sql: scheduleViewFields.update_time }],
  ['labels', { kind: 'labels', sql: scheduleViewFields.labels }],
]);

/** Lists schedules, by name unless `order_by` says otherwise. */
export function listSchedules({ store }: MethodContext): ScheduleMethod<'listSchedules'> {
  return async ({ parent, pageSize, pageToken, filter, orderBy, showDeleted }) => {
    const { order, descending, placeOf, readPlace } = listOrder(orderBy);
    const request = [parent, filter, orderBy, showDeleted];
    const { views, more } = await store.list({
      ...parseParentPattern(parent),
      showDeleted,
      filter: filterSql(parseFilter(filter), FILTER_FIELDS),
      order,
      descending,
      after: readPlace(pageToken, request),
      limit: effectivePageSize(pageSize),
      maxBytes: MAX_PAGE_BYTES,
    });
    const last = views.at(-1);
    return {
      schedules: views.map(scheduleMessage),
      nextPageToken: more && last !== undefined ? encodePageToken(placeOf(last), request) : '',
    };
  };
}
