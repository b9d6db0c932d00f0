import type { ScheduleName } from '@carillon/core/resource-name.ts';
import { type Expression, type Kysely, type SqlBool, sql } from 'kysely';
import { microsOf, nullableMicrosOf } from '../epoch-micros.ts';
import type { ScheduleTables, SpanState } from './schedule-tables.ts';
import type { ScheduleRow } from './schedules.ts';

/** A schedule as its callers see it: the row, what is active, and the spec of the active revision, else of the newest. */
export interface ScheduleView extends ScheduleRow {
  /** The active revision; null if none is. */
  readonly active_revision: number | null;
  /** What the active revision does; null if none is. */
  readonly span_state: SpanState | null;
  readonly timing: Buffer;
  readonly run: Buffer;
  /** Who paused it, when and why; null unless it is paused. */
  readonly pause_actor: string | null;
  readonly pause_micros: number | null;
  readonly pause_reason: string | null;
  /** Why the scheduler has quarantined it; null if it has not. */
  readonly quarantine_reason: string | null;
}

type Db = Kysely<ScheduleTables>;

/** SQL of what a filter may ask of a view. */
export const scheduleViewFields = {
  schedule_id: sql.ref('s.schedule_id'),
  task: sql.ref('r.task'),
  time_zone: sql.ref('r.time_zone'),
  create_time: sql.ref('s.create_time'),
  update_time: sql.ref('s.update_time'),
  labels: sql.ref('s.labels'),
  /** `ACTIVE`, `PAUSED`, `INACTIVE` or `DELETED`. */
  state: sql`(case when s.delete_time is not null then 'DELETED' else coalesce(o.state, 'INACTIVE') end)`,
} as const;

function selectViews(db: Db) {
  return (
    db
      .selectFrom('schedules as s')
      .leftJoin('schedule_spans as o', (join) =>
        join.onRef('o.schedule', '=', 's.id').on('o.to_time', 'is', null),
      )
      // Lateral, with a limit: so the planner knows that there is one row each, and does not sort thousands to show fifty.
      .innerJoinLateral(
        (eb) =>
          eb
            .selectFrom('schedule_revisions as v')
            .select(['v.timing', 'v.run', 'v.task', 'v.time_zone'])
            .whereRef('v.schedule', '=', 's.id')
            .where('v.revision', '=', sql<number>`coalesce(o.revision, s.revision)`)
            .limit(1)
            .as('r'),
        (join) => join.onTrue(),
      )
      // A pause may go on over several spans, when it is revised; the first of them tells who began it, when and why.
      .leftJoinLateral(
        (eb) =>
          eb
            .selectFrom('schedule_spans as e')
            .innerJoin('schedule_spans as b', (join) =>
              join.onRef('b.schedule', '=', 'e.schedule').on('b.span', '=', sql<number>`e.span + 1`),
            )
            .select(['b.actor', 'b.from_time', 'b.reason'])
            .whereRef('e.schedule', '=', 's.id')
            .where('e.end_reason', '=', 'PAUSED')
            .where('o.state', '=', 'PAUSED')
            .orderBy('e.span', 'desc')
            .limit(1)
            .as('p'),
        (join) => join.onTrue(),
      )
      .select([
        's.id',
        's.uid',
        's.project',
        's.domain',
        's.schedule_id',
        's.description',
        's.labels',
        's.generation',
        's.revision',
        'o.revision as active_revision',
        'o.state as span_state',
        'r.timing',
        'r.run',
        'p.actor as pause_actor',
        'p.reason as pause_reason',
        sql<string | null>`(select q.reason from schedule_quarantines q where q.schedule = s.id)`.as(
          'quarantine_reason',
        ),
        nullableMicrosOf(sql.ref('p.from_time')).as('pause_micros'),
        nullableMicrosOf(sql.ref('s.anchor_time')).as('anchor_micros'),
        microsOf(sql.ref('s.create_time')).as('create_micros'),
        microsOf(sql.ref('s.update_time')).as('update_micros'),
        nullableMicrosOf(sql.ref('s.delete_time')).as('delete_micros'),
      ])
  );
}

/** One schedule by its id. */
export async function readScheduleView(db: Db, id: bigint): Promise<ScheduleView> {
  return await selectViews(db).where('s.id', '=', id).executeTakeFirstOrThrow();
}

/** The schedule of a name that is not deleted; undefined if there is none. */
export async function findScheduleView(db: Db, name: ScheduleName): Promise<ScheduleView | undefined> {
  return await selectViews(db)
    .where('s.project', '=', name.project)
    .where('s.domain', '=', name.domain)
    .where('s.schedule_id', '=', name.scheduleId)
    .where('s.delete_time', 'is', null)
    .executeTakeFirst();
}

/** The columns of an order of lists, which end with what makes it total, by their names in {@link ScheduleView}. */
const ORDERS = {
  name: ['project', 'domain', 'schedule_id', 'id'],
  create_time: ['create_time', 'id'],
  update_time: ['update_time', 'id'],
} as const;

/** What lists may be ordered by. */
export type ScheduleOrder = keyof typeof ORDERS;

/** One page of a list. */
export interface ScheduleViewsPage {
  /** Undefined: all projects. */
  readonly project: string | undefined;
  /** Undefined: all domains. */
  readonly domain: string | undefined;
  readonly showDeleted: boolean;
  /** Over {@link scheduleViewFields}. */
  readonly filter: Expression<SqlBool>;
  readonly order: ScheduleOrder;
  readonly descending: boolean;
  /** Begins after the schedule with these values of the order's columns. Undefined: at the beginning. */
  readonly after: readonly Expression<unknown>[] | undefined;
  readonly limit: number;
  /** No more schedules after so many bytes of specs; at least one is returned all the same. */
  readonly maxBytes: number;
}

/** A page of schedules, in order, and whether more follow. */
export async function listScheduleViews(
  db: Db,
  page: ScheduleViewsPage,
): Promise<{ readonly views: readonly ScheduleView[]; readonly more: boolean }> {
  const direction = page.descending ? 'desc' : 'asc';
  const columns = ORDERS[page.order];
  let found = selectViews(db)
    .select([
      's.create_time',
      's.update_time',
      // Not read from where long values are kept: only the length of it is.
      sql<number>`octet_length(r.timing) + octet_length(r.run)`.as('bytes'),
    ])
    .where(page.filter)
    .limit(page.limit + 1);
  if (page.project !== undefined) found = found.where('s.project', '=', page.project);
  if (page.domain !== undefined) found = found.where('s.domain', '=', page.domain);
  if (!page.showDeleted) found = found.where('s.delete_time', 'is', null);
  if (page.after !== undefined) {
    const comparison = sql.raw(page.descending ? '<' : '>');
    const row = sql.join(columns.map((column) => sql.ref(`s.${column}`)));
    found = found.where(sql<boolean>`(${row}) ${comparison} (${sql.join(page.after)})`);
  }
  for (const column of columns) found = found.orderBy(sql.ref(`s.${column}`), direction);

  const ordered = sql.join(columns.map((column) => sql`${sql.ref(column)} ${sql.raw(direction)}`));
  const measured = db
    .selectFrom(found.as('found'))
    .selectAll()
    .select([
      sql<bigint>`sum(bytes) over (order by ${ordered}) - bytes`.as('bytes_before'),
      sql<bigint>`count(*) over ()`.as('found'),
    ]);
  let kept = db
    .selectFrom(measured.as('measured'))
    .selectAll()
    .where(sql<boolean>`bytes_before < ${page.maxBytes}`)
    .limit(page.limit);
  for (const column of columns) kept = kept.orderBy(column, direction);
  const views = await kept.execute();
  return { views, more: Number(views[0]?.found ?? 0) > views.length };
}
