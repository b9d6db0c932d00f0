import type { JsonObject } from '@bufbuild/protobuf';
import type { BadRequest } from './bad-request.ts';

const PARENT = 'projects/p/domains/d';
/** An active schedule of generation 1, and one that is inactive: there before the requests are sent. */
export const SEEDS = ['seed', 'idle'] as const;
const SEED = `${PARENT}/schedules/seed`;
const IDLE = `${PARENT}/schedules/idle`;

const RUN: JsonObject = { task: 't' };
const HOURLY: JsonObject = { cron: { expression: '0 * * * *' }, run: RUN };

function invalid(bad: string, method: string, message: JsonObject, field: string, says?: string): BadRequest {
  return { bad, method, message, code: 'invalid_argument', field, ...(says === undefined ? {} : { says }) };
}

const updating = (schedule: JsonObject, paths?: string): JsonObject => ({
  schedule: { name: SEED, ...schedule },
  ...(paths === undefined ? {} : { updateMask: paths }),
});
const update = (bad: string, message: JsonObject, field: string, says?: string): BadRequest =>
  invalid(bad, 'UpdateSchedule', message, field, says);

const writes: readonly BadRequest[] = [
  update('no schedule', {}, 'schedule'),
  update('no name', { schedule: { spec: HOURLY } }, 'schedule.name'),
  update('an etag that is none', updating({ etag: 'abc', spec: HOURLY }), 'schedule.etag'),
  update('no spec', updating({ description: 'x' }), 'schedule.spec'),
  update('an unknown path', updating({ spec: HOURLY }, 'spec.cron.expresion'), 'update_mask', 'expresion'),
  update('a path that is output', updating({}, 'uid'), 'update_mask', 'uid'),
  update('a path of the name', updating({}, 'name'), 'update_mask'),
  update('a path into a prototype', updating({}, 'spec.run.labels.constructor'), 'update_mask'),
  update(
    'what a mask makes of it',
    updating({ spec: { cron: { expression: '61 * * * *' } } }, 'spec.cron.expression'),
    'schedule.spec.cron.expression',
    'column 1',
  ),
  update('a mask that takes the run away', updating({}, 'spec.run'), 'schedule.spec.run'),
  update(
    'a label __proto__',
    updating({ labels: JSON.parse('{"__proto__":"x"}') }, 'labels'),
    'schedule.labels["__proto__"]',
  ),
  update(
    'a new schedule without a spec',
    { schedule: { name: `${PARENT}/schedules/new` }, allowMissing: true },
    'schedule.spec',
  ),
  update(
    'a new schedule that breaks rules',
    { schedule: { name: `${PARENT}/schedules/new`, spec: { run: RUN } }, allowMissing: true },
    'schedule.spec.pattern',
  ),
  {
    bad: 'a stale etag',
    method: 'UpdateSchedule',
    message: updating({ etag: '7', spec: { ...HOURLY, jitter: '1s' } }),
    code: 'aborted',
    reason: 'STALE_ETAG',
  },
  {
    bad: 'a schedule that is not there',
    method: 'UpdateSchedule',
    message: { schedule: { name: `${PARENT}/schedules/none`, spec: HOURLY } },
    code: 'not_found',
  },
  {
    bad: 'an end to an active schedule',
    method: 'UpdateSchedule',
    message: updating({ spec: { endTime: '2020-01-01T00:00:00Z' } }, 'spec.endTime'),
    code: 'failed_precondition',
    reason: 'NO_FUTURE_SLOT',
  },
  invalid('a negative revision', 'ActivateSchedule', { name: SEED, revision: -1 }, 'revision'),
  {
    bad: 'an unknown revision',
    method: 'ActivateSchedule',
    message: { name: SEED, revision: 7 },
    code: 'not_found',
  },
  {
    bad: 'a stale etag',
    method: 'ActivateSchedule',
    message: { name: IDLE, etag: '7' },
    code: 'aborted',
    reason: 'STALE_ETAG',
  },
  {
    bad: 'a stale etag',
    method: 'DeactivateSchedule',
    message: { name: SEED, etag: '7' },
    code: 'aborted',
    reason: 'STALE_ETAG',
  },
  invalid('a reason too long', 'PauseSchedule', { name: SEED, reason: 'x'.repeat(1025) }, 'reason'),
  invalid('a NUL in the reason', 'PauseSchedule', { name: SEED, reason: '\u0000' }, 'reason'),
  {
    bad: 'a pause of what is not active',
    method: 'PauseSchedule',
    message: { name: IDLE },
    code: 'failed_precondition',
    reason: 'NOT_ACTIVE',
  },
  invalid('an etag that is none', 'UnpauseSchedule', { name: SEED, etag: '1 or 1=1' }, 'etag'),
  {
    bad: 'a stale etag',
    method: 'DeleteSchedule',
    message: { name: SEED, etag: '7' },
    code: 'aborted',
    reason: 'STALE_ETAG',
  },
  {
    bad: 'a schedule that is not there',
    method: 'DeleteSchedule',
    message: { name: `${PARENT}/schedules/none` },
    code: 'not_found',
  },
];

const list = (bad: string, message: JsonObject, field: string, says?: string): BadRequest =>
  invalid(bad, 'ListSchedules', { parent: PARENT, ...message }, field, says);

const reads: readonly BadRequest[] = [
  list('half a parent', { parent: 'projects/p' }, 'parent'),
  list('a negative page size', { pageSize: -1 }, 'page_size'),
  list('a page token of no page', { pageToken: 'bm9uc2Vuc2U' }, 'page_token'),
  list('a page token with SQL', { pageToken: "' or 1=1" }, 'page_token'),
  list('SQL in the filter', { filter: "state = ACTIVE'; drop table schedules; --" }, 'filter', 'column 15'),
  list('SQL for a filter', { filter: '1=1) or (1=1' }, 'filter', 'column 1'),
  list('a field that is no field', { filter: 'generation > 1' }, 'filter', 'generation is not a field'),
  list('a field of a prototype', { filter: '__proto__ = 1' }, 'filter'),
  list('a time that is none', { filter: 'create_time > 2026-02-30T00:00:00Z' }, 'filter', 'column 15'),
  list('a state that is none', { filter: 'state = RUNNING' }, 'filter', 'ACTIVE, PAUSED, INACTIVE, DELETED'),
  list('OR', { filter: 'state = ACTIVE OR state = PAUSED' }, 'filter', 'AND'),
  list('21 comparisons', { filter: Array(21).fill('labels.a = b').join(' AND ') }, 'filter', 'at most 20'),
  list('a filter too long', { filter: `task = ${'x'.repeat(2048)}` }, 'filter'),
  list('a NUL in the filter', { filter: 'task = "\u0000"' }, 'filter'),
  list('SQL in the order', { orderBy: 'name; drop table schedules' }, 'order_by'),
  list('an unknown order', { orderBy: 'generation' }, 'order_by'),
  invalid('a page token of no page', 'ListScheduleRevisions', { name: SEED, pageToken: 'x' }, 'page_token'),
  invalid('no source', 'PreviewSchedule', {}, 'source'),
  invalid('1001 slots', 'PreviewSchedule', { name: SEED, count: 1001 }, 'count'),
  invalid(
    'a beginning in the year 1',
    'PreviewSchedule',
    { name: SEED, fromTime: '0001-01-01T00:00:00Z' },
    'from_time',
  ),
  invalid(
    'an end before the beginning',
    'PreviewSchedule',
    { name: SEED, fromTime: '2026-01-02T00:00:00Z', toTime: '2026-01-01T00:00:00Z' },
    'to_time',
  ),
  invalid(
    'an expression that never fires',
    'PreviewSchedule',
    { spec: { cron: { expression: '0 0 31 4 *' }, run: RUN } },
    'spec.cron.expression',
  ),
  {
    bad: 'a schedule that is not there',
    method: 'PreviewSchedule',
    message: { name: `${PARENT}/schedules/none` },
    code: 'not_found',
  },
];

/** Requests that change or read schedules, and must not. */
export const badScheduleCalls: readonly BadRequest[] = [...writes, ...reads];
