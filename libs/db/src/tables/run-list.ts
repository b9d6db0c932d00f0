import type { ParentPattern } from '@carillon/core/resource-name.ts';
import { type Expression, type SqlBool, sql } from 'kysely';
import { timestampOf } from '../epoch-micros.ts';
import { utcDay } from '../partitions.ts';
import { type RunDb, type RunRow, runColumns } from './runs.ts';

/** SQL of what a filter of a list may ask of a run. */
export const runListFields = {
  project: sql.ref('runs.project'),
  domain: sql.ref('runs.domain'),
  schedule_id: sql.ref('runs.schedule_id'),
  schedule_uid: sql.ref('runs.schedule_uid'),
  task: sql.ref('runs.task'),
  queue: sql.ref('runs.queue'),
  phase: sql.ref('runs.phase'),
  kind: sql.ref('runs.kind'),
  nominal_time: sql.ref('runs.nominal_time'),
  create_time: sql.ref('runs.create_time'),
  labels: sql.ref('runs.labels'),
} as const;

/** What lists may be ordered by; runs of one instant by their names. */
export type RunOrder = 'nominal_time' | 'create_time';

/** Where in a list a run stands. */
export interface RunPlace {
  /** Its nominal or create time, whichever the order is by, in microseconds since the epoch. */
  readonly micros: number;
  readonly project: string;
  readonly domain: string;
  readonly run_id: string;
}

/** One page of a list. */
export interface RunPage {
  readonly parent: ParentPattern;
  /** Over {@link runListFields}. */
  readonly filter: Expression<SqlBool>;
  readonly order: RunOrder;
  readonly descending: boolean;
  /** Begins after this place. Undefined: at the beginning. */
  readonly after: RunPlace | undefined;
  readonly limit: number;
}

/** The place of a run in a list of this order. */
export function placeOfRun(row: RunRow, order: RunOrder): RunPlace {
  const { project, domain, run_id, nominal_micros, create_micros } = row;
  return { micros: order === 'nominal_time' ? nominal_micros : create_micros, project, domain, run_id };
}

/** A page of runs, in order, and whether more follow. */
export async function listRuns(db: RunDb, page: RunPage): Promise<{ rows: RunRow[]; more: boolean }> {
  const conditions: Expression<SqlBool>[] = [page.filter];
  const { project, domain } = page.parent;
  if (project !== undefined) conditions.push(sql<SqlBool>`runs.project = ${project}`);
  if (domain !== undefined) conditions.push(sql<SqlBool>`runs.domain = ${domain}`);
  if (page.after !== undefined) conditions.push(...beyond(page, page.after));
  const direction = sql.raw(page.descending ? 'desc' : 'asc');
  const columns = [page.order, 'project', 'domain', 'run_id'].map((column) => sql.ref(`runs.${column}`));
  const { rows } = await sql<RunRow>`
    select ${runColumns('runs')}
    from runs
    where ${sql.join(conditions, sql` and `)}
    order by ${sql.join(columns.map((column) => sql`${column} ${direction}`))}
    limit ${page.limit + 1}
  `.execute(db);
  return { rows: rows.slice(0, page.limit), more: rows.length > page.limit };
}

function beyond({ order, descending }: RunPage, after: RunPlace): Expression<SqlBool>[] {
  const time = sql.ref(`runs.${order}`);
  const comparison = sql.raw(descending ? '<' : '>');
  const place = sql<SqlBool>`
    (${time}, runs.project, runs.domain, runs.run_id) ${comparison}
    (${timestampOf(after.micros)}, ${after.project}, ${after.domain}, ${after.run_id})
  `;
  if (order !== 'nominal_time') return [place];
  // Leaves out the partitions that earlier pages have been through.
  const within = sql.raw(descending ? '<=' : '>=');
  return [place, sql<SqlBool>`runs.day ${within} ${utcDay(after.micros)}::date`];
}
