import { type FilterTerm, filterError, parseFilter } from '@carillon/core/filter.ts';
import { decodePageToken, effectivePageSize, encodePageToken } from '@carillon/core/page-token.ts';
import { isNameSegment, parseParentPattern } from '@carillon/core/resource-name.ts';
import { RUN_PHASES } from '@carillon/core/run-state.ts';
import { type FilterFields, filterSql } from '@carillon/db/filter-sql.ts';
import {
  listRuns as listRunRows,
  placeOfRun,
  type RunOrder,
  runListFields,
} from '@carillon/db/tables/run-list.ts';
import { type Expression, type SqlBool, sql } from 'kysely';
import { runMessage } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

const words = (values: readonly string[]): ReadonlyMap<string, string> =>
  new Map(values.map((value) => [value, value]));

const FILTER_FIELDS: FilterFields = new Map([
  ['schedule', { kind: 'other', term: ofSchedule }],
  ['schedule_uid', { kind: 'text', sql: runListFields.schedule_uid }],
  ['task', { kind: 'text', sql: runListFields.task }],
  ['queue', { kind: 'text', sql: runListFields.queue }],
  ['phase', { kind: 'word', sql: runListFields.phase, words: words(RUN_PHASES) }],
  [
    'kind',
    { kind: 'word', sql: runListFields.kind, words: words(['AD_HOC', 'SLOT', 'BACKFILL', 'TRIGGER']) },
  ],
  ['nominal_time', { kind: 'time', sql: runListFields.nominal_time }],
  ['create_time', { kind: 'time', sql: runListFields.create_time }],
  ['labels', { kind: 'labels', sql: runListFields.labels }],
]);

/** Lists runs, the newest nominal time first unless `order_by` says otherwise. */
export function listRuns({ db }: MethodContext): RunMethod<'listRuns'> {
  return async ({ parent, pageSize, pageToken, filter, orderBy }) => {
    const [column, direction] = orderBy === '' ? ['nominal_time', 'desc'] : orderBy.split(' ');
    const order: RunOrder = column === 'create_time' ? column : 'nominal_time';
    const request = [parent, filter, orderBy];
    const cursor = decodePageToken(pageToken, request, ['integer', 'text', 'text', 'text']);
    const { rows, more } = await listRunRows(db, {
      parent: parseParentPattern(parent),
      filter: filterSql(parseFilter(filter), FILTER_FIELDS),
      order,
      descending: direction === 'desc',
      after: cursor && { micros: cursor[0], project: cursor[1], domain: cursor[2], run_id: cursor[3] },
      limit: effectivePageSize(pageSize),
    });
    const last = rows.at(-1);
    if (last === undefined || !more) return { runs: rows.map(runMessage) };
    const { micros, project, domain, run_id } = placeOfRun(last, order);
    return {
      runs: rows.map(runMessage),
      nextPageToken: encodePageToken([micros, project, domain, run_id], request),
    };
  };
}

/** A schedule is given by its resource name, and stored as the parts of it. */
function ofSchedule({ column, field, key, operator, value }: FilterTerm): Expression<SqlBool> {
  if (key !== undefined) throw filterError(column, `${field} has no keys`);
  if (operator !== '=' && operator !== '!=')
    throw filterError(column, `${field} is compared by = and != only`);
  const [projects, project, domains, domain, schedules, id, ...rest] = value.text.split('/');
  const isName =
    [projects, domains, schedules].join() === 'projects,domains,schedules' &&
    [project, domain, id].every((segment) => segment !== undefined && isNameSegment(segment)) &&
    rest.length === 0 &&
    !value.prefix;
  if (!isName) {
    throw filterError(value.column, 'a schedule is projects/{project}/domains/{domain}/schedules/{schedule}');
  }
  const { project: runProject, domain: runDomain, schedule_id } = runListFields;
  const same = sql<SqlBool>`${runProject} = ${project} and ${runDomain} = ${domain} and ${schedule_id} = ${id}`;
  return operator === '=' ? sql<SqlBool>`(${same})` : sql<SqlBool>`not (${same})`;
}
