import type { JsonObject } from '@bufbuild/protobuf';
import type { BadRequest } from './bad-request.ts';

const PARENT = 'projects/p/domains/d';
/** A run that exists before the requests are sent, of the task `t`. */
export const SEED_RUN = 'seed-run';
const SEED = `${PARENT}/runs/${SEED_RUN}`;
const NONE = `${PARENT}/runs/none`;
const SPEC: JsonObject = { task: 't' };
const MEBIBYTE = 1_048_576;

const SLOT: JsonObject = {
  parent: PARENT,
  runId: `r${'a'.repeat(26)}`,
  spec: SPEC,
  kind: 'RUN_KIND_SLOT',
  schedule: `${PARENT}/schedules/seed`,
  scheduleUid: 'u',
  nominalTime: '2026-11-01T00:00:00Z',
};

function without(message: JsonObject, field: string): JsonObject {
  return Object.fromEntries(Object.entries(message).filter(([key]) => key !== field));
}

function invalid(bad: string, method: string, message: JsonObject, field: string, says?: string): BadRequest {
  return { bad, method, message, code: 'invalid_argument', field, ...(says === undefined ? {} : { says }) };
}

const creating = (changes: JsonObject): JsonObject => ({
  parent: PARENT,
  runId: 'new',
  spec: SPEC,
  ...changes,
});
const withSpec = (changes: JsonObject): JsonObject => creating({ spec: { ...SPEC, ...changes } });
const run = (bad: string, message: JsonObject, field: string, says?: string): BadRequest =>
  invalid(bad, 'CreateRun', message, field, says);

const creations: readonly BadRequest[] = [
  run('no parent', without(creating({}), 'parent'), 'parent'),
  run('a wildcard for a parent', creating({ parent: 'projects/-/domains/-' }), 'parent'),
  run('no spec', without(creating({}), 'spec'), 'spec'),
  run('no task', creating({ spec: {} }), 'spec.task'),
  run('a task that is SQL', withSpec({ task: "t'; drop table runs" }), 'spec.task'),
  run('a queue with capitals', withSpec({ queue: 'Q' }), 'spec.queue'),
  run('an id with capitals', creating({ runId: 'New' }), 'run_id'),
  run('an id that is a path', creating({ runId: '../x' }), 'run_id'),
  run('an ad-hoc run named as a slot', creating({ runId: `r${'a'.repeat(26)}` }), 'run_id'),
  run('an ad-hoc run named as a slot of Flyte', creating({ runId: 'rdeadbeef' }), 'run_id'),
  run('an ad-hoc run of a schedule', creating({ schedule: `${PARENT}/schedules/seed` }), 'schedule'),
  run('an ad-hoc run with a uid', creating({ scheduleUid: 'u' }), 'schedule_uid'),
  run('a slot without a schedule', without(SLOT, 'schedule'), 'schedule'),
  run('a slot without a uid', without(SLOT, 'scheduleUid'), 'schedule_uid'),
  run('a slot without a nominal time', without(SLOT, 'nominalTime'), 'nominal_time'),
  run('a slot of another project', { ...SLOT, schedule: 'projects/q/domains/d/schedules/seed' }, 'schedule'),
  run(
    'a slot with a fraction of a second',
    { ...SLOT, nominalTime: '2026-11-01T00:00:00.5Z' },
    'nominal_time',
  ),
  run('a slot in the year 1', { ...SLOT, nominalTime: '0001-01-01T00:00:00Z' }, 'nominal_time'),
  run('an unknown kind', creating({ kind: 99 }), 'kind'),
  run('a negative revision', { ...SLOT, scheduleRevision: -1 }, 'schedule_revision'),
  run(
    'inputs one byte too large',
    withSpec({ inputs: { data: Buffer.alloc(MEBIBYTE + 1).toString('base64') } }),
    'spec.inputs.data',
  ),
  run(
    'values too large',
    withSpec({ inputs: { values: { a: 'x'.repeat(MEBIBYTE) } } }),
    'spec.inputs.values',
  ),
  run(
    'a content type for values',
    withSpec({ inputs: { values: {}, contentType: 'text/plain' } }),
    'spec.inputs.content_type',
  ),
  run('a label __proto__', withSpec({ labels: JSON.parse('{"__proto__":"x"}') }), 'spec.labels["__proto__"]'),
  run('a NUL in a label', withSpec({ labels: { a: '\u0000' } }), 'spec.labels["a"]'),
  run('101 attempts', withSpec({ retry: { maxAttempts: 101 } }), 'spec.retry.max_attempts'),
  run('an attempt of eight days', withSpec({ attemptTimeout: '691200s' }), 'spec.attempt_timeout'),
  run('an attempt in nanoseconds', withSpec({ attemptTimeout: '1.000000001s' }), 'spec.attempt_timeout'),
  run('concurrency without a key', creating({ concurrency: {} }), 'concurrency.key'),
  run('a NUL in the key', creating({ concurrency: { key: 'a\u0000' } }), 'concurrency.key'),
  run('a negative limit', creating({ concurrency: { key: 'k', limit: -1 } }), 'concurrency.limit'),
  run('an unknown overlap policy', creating({ concurrency: { key: 'k', policy: 99 } }), 'concurrency.policy'),
  {
    bad: 'a limit that has passed',
    method: 'CreateRun',
    message: creating({ notAfter: '2020-01-01T00:00:00Z' }),
    code: 'failed_precondition',
    reason: 'EXPIRED',
  },
  {
    bad: 'a time beyond retention',
    method: 'CreateRun',
    message: { ...SLOT, nominalTime: '2001-01-01T00:00:00Z' },
    code: 'failed_precondition',
    reason: 'BEYOND_RETENTION',
  },
  {
    bad: 'a taken name, for another task',
    method: 'CreateRun',
    message: creating({ runId: SEED_RUN, spec: { task: 'other' } }),
    code: 'already_exists',
    reason: 'SPEC_CONFLICT',
  },
  // Not by the size of the message: batches of slots are larger.
  run(
    '10 MB of inputs',
    withSpec({ inputs: { data: Buffer.alloc(10_000_000).toString('base64') } }),
    'spec.inputs.data',
  ),
  {
    bad: 'an unknown field',
    method: 'CreateRun',
    json: '{"runID":"x"}',
    code: 'invalid_argument',
    says: 'runID',
  },
  { bad: 'no JSON', method: 'CreateRun', json: 'parent=x', code: 'invalid_argument' },
];

const batches: readonly BadRequest[] = [
  invalid('an empty batch', 'BatchCreateRuns', { requests: [] }, 'requests'),
  invalid(
    '501 requests',
    'BatchCreateRuns',
    { requests: Array.from({ length: 501 }, (_, i) => creating({ runId: `n${i}` })) },
    'requests',
  ),
  invalid('an empty batch', 'BatchGetRuns', { requests: [] }, 'requests'),
  invalid(
    'a probe without a time',
    'BatchGetRuns',
    { requests: [{ name: SEED }], probe: true },
    'requests[0].nominal_time',
  ),
  invalid(
    'a name of another kind',
    'BatchGetRuns',
    { requests: [{ name: `${PARENT}/schedules/seed` }] },
    'requests[0].name',
  ),
];

const list = (bad: string, message: JsonObject, field: string, says?: string): BadRequest =>
  invalid(bad, 'ListRuns', { parent: PARENT, ...message }, field, says);

const calls: readonly BadRequest[] = [
  invalid('SQL in a name', 'GetRun', { name: `${SEED}' or '1'='1` }, 'name'),
  { bad: 'an unknown name', method: 'GetRun', message: { name: NONE }, code: 'not_found' },
  { bad: 'an unknown name', method: 'AbortRun', message: { name: NONE }, code: 'not_found' },
  invalid('a reason too long', 'AbortRun', { name: SEED, reason: 'x'.repeat(1025) }, 'reason'),
  invalid('a NUL in the reason', 'AbortRun', { name: SEED, reason: '\u0000' }, 'reason'),
  list('a negative page size', { pageSize: -1 }, 'page_size'),
  list('a page token of no page', { pageToken: 'bm9uc2Vuc2U' }, 'page_token'),
  list('SQL in the filter', { filter: "phase = FAILED'; drop table runs; --" }, 'filter', 'column 15'),
  list('a field that is no field', { filter: 'digest = x' }, 'filter', 'digest is not a field'),
  list('a phase that is none', { filter: 'phase = SLEEPING' }, 'filter'),
  list('an unknown order', { orderBy: 'task' }, 'order_by'),
];

/** Bad requests to RunService. */
export const badRuns: readonly BadRequest[] = [...creations, ...batches, ...calls];

const LEASE: JsonObject = { run: SEED, leaseToken: 'made-up' };

/** Bad requests to WorkerService. */
export const badWorkerCalls: readonly BadRequest[] = [
  invalid('no name', 'RegisterWorker', {}, 'worker'),
  invalid('a name with blanks', 'RegisterWorker', { worker: 'a b' }, 'worker'),
  invalid('a NUL in the version', 'RegisterWorker', { worker: 'w', version: '\u0000' }, 'version'),
  invalid('10,001 slots', 'RegisterWorker', { worker: 'w', slots: 10_001 }, 'slots'),
  invalid('501 runs', 'LeaseRuns', { worker: 'w', maxRuns: 501 }, 'max_runs'),
  invalid('a wait of two minutes', 'LeaseRuns', { worker: 'w', wait: '120s' }, 'wait'),
  invalid(
    '33 queues',
    'LeaseRuns',
    { worker: 'w', queues: Array.from({ length: 33 }, (_, i) => `q${i}`) },
    'queues',
  ),
  invalid('no lease', 'CompleteRun', {}, 'lease'),
  invalid('no token', 'CompleteRun', { lease: { run: SEED } }, 'lease.lease_token'),
  invalid('no error', 'FailRun', { lease: LEASE }, 'error'),
  invalid('a code in lower case', 'FailRun', { lease: LEASE, error: { code: 'oops' } }, 'error.code'),
  {
    bad: 'a lease that was never given',
    method: 'CompleteRun',
    message: { lease: LEASE },
    code: 'failed_precondition',
    reason: 'LEASE_LOST',
  },
  {
    bad: 'a lease that was never given',
    method: 'FailRun',
    message: { lease: LEASE, error: { code: 'OOPS' } },
    code: 'failed_precondition',
    reason: 'LEASE_LOST',
  },
];
