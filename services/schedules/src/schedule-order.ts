import { decodePageToken, type PagedRequest } from '@carillon/core/page-token.ts';
import { timestampOf } from '@carillon/db/epoch-micros.ts';
import type { ScheduleOrder, ScheduleView } from '@carillon/db/tables/schedule-views.ts';
import { type Expression, sql } from 'kysely';

/** How a list is ordered, and how the place of a schedule in it is written into page tokens and read from them. */
export interface ListOrder {
  readonly order: ScheduleOrder;
  readonly descending: boolean;
  /** The place of a schedule: the cursor of the page that begins after it. */
  readonly placeOf: (view: ScheduleView) => readonly (string | number)[];
  /** The place that a token holds, as the values of the order's columns; undefined for the empty token. @throws {DomainError} INVALID_ARGUMENT */
  readonly readPlace: (token: string, request: PagedRequest) => readonly Expression<unknown>[] | undefined;
}

type Place = Omit<ListOrder, 'order' | 'descending'>;

const PLACES: Readonly<Record<ScheduleOrder, Place>> = {
  name: {
    placeOf: (view) => [view.project, view.domain, view.schedule_id, Number(view.id)],
    readPlace: (token, request) => {
      const place = decodePageToken(token, request, ['text', 'text', 'text', 'integer']);
      if (place === undefined) return undefined;
      const [project, domain, scheduleId, id] = place;
      return [sql`${project}::text`, sql`${domain}::text`, sql`${scheduleId}::text`, sql`${id}::bigint`];
    },
  },
  create_time: placeByTime((view) => view.create_micros),
  update_time: placeByTime((view) => view.update_micros),
};

/** The order that an `order_by` asks for, which has kept its rule in the proto. */
export function listOrder(orderBy: string): ListOrder {
  const [column, direction] = orderBy.split(' ');
  const order = column === 'create_time' || column === 'update_time' ? column : 'name';
  return { order, descending: direction === 'desc', ...PLACES[order] };
}

function placeByTime(micros: (view: ScheduleView) => number): Place {
  return {
    placeOf: (view) => [micros(view), Number(view.id)],
    readPlace: (token, request) => {
      const place = decodePageToken(token, request, ['integer', 'integer']);
      return place && [timestampOf(place[0]), sql`${place[1]}::bigint`];
    },
  };
}
