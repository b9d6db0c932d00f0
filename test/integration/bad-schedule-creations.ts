import { create, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { CreateScheduleRequestSchema } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import type { BadRequest } from './bad-request.ts';

const PARENT = 'projects/p/domains/d';
const SEED = `${PARENT}/schedules/seed`;

const RUN: JsonObject = { task: 't' };
const HOURLY: JsonObject = { cron: { expression: '0 * * * *' }, run: RUN };
const MEBIBYTE = 1_048_576;

function creating(schedule: JsonObject, rest: JsonObject = {}): JsonObject {
  return { parent: PARENT, scheduleId: 'new', schedule, ...rest };
}

const withSpec = (changes: JsonObject): JsonObject => creating({ spec: { ...HOURLY, ...changes } });
const withPattern = (pattern: JsonObject): JsonObject => creating({ spec: { ...pattern, run: RUN } });
const withCron = (expression: string, rest: JsonObject = {}): JsonObject =>
  withPattern({ cron: { expression, ...rest } });
const withRun = (changes: JsonObject): JsonObject => withSpec({ run: { ...RUN, ...changes } });
const withValues = (values: JsonObject): JsonObject => withRun({ inputs: { values } });

function nested(levels: number): JsonObject {
  let value: JsonObject = {};
  for (let level = 1; level < levels; level++) value = { a: value };
  return value;
}

function invalid(bad: string, method: string, message: JsonObject, field: string, says?: string): BadRequest {
  return { bad, method, message, code: 'invalid_argument', field, ...(says === undefined ? {} : { says }) };
}

const create_ = (bad: string, message: JsonObject, field: string, says?: string): BadRequest =>
  invalid(bad, 'CreateSchedule', message, field, says);

const names: readonly BadRequest[] = [
  create_('no parent', { scheduleId: 'new', schedule: { spec: HOURLY } }, 'parent'),
  create_(
    'a wildcard for a parent',
    creating({ spec: HOURLY }, { parent: 'projects/-/domains/d' }),
    'parent',
  ),
  create_('capitals in the parent', creating({ spec: HOURLY }, { parent: 'projects/P/domains/d' }), 'parent'),
  create_(
    'a parent too long',
    creating({ spec: HOURLY }, { parent: `projects/${'p'.repeat(300)}/domains/d` }),
    'parent',
  ),
  create_('no id', creating({ spec: HOURLY }, { scheduleId: '' }), 'schedule_id'),
  create_('an id too long', creating({ spec: HOURLY }, { scheduleId: 'a'.repeat(64) }), 'schedule_id'),
  create_('an id that is a path', creating({ spec: HOURLY }, { scheduleId: '../seed' }), 'schedule_id'),
  create_(
    'an id that is SQL',
    creating({ spec: HOURLY }, { scheduleId: "x'; drop table schedules; --" }),
    'schedule_id',
  ),
  create_('an id with a line end', creating({ spec: HOURLY }, { scheduleId: 'new\n' }), 'schedule_id'),
  create_('another name', creating({ name: SEED, spec: HOURLY }), 'schedule.name', 'schedules/new'),
  invalid('a name of another kind', 'GetSchedule', { name: `${PARENT}/runs/seed` }, 'name'),
  invalid('SQL in a name', 'GetSchedule', { name: `${SEED}' or '1'='1` }, 'name'),
  {
    bad: 'an unknown name',
    method: 'GetSchedule',
    message: { name: `${PARENT}/schedules/none` },
    code: 'not_found',
  },
  {
    bad: 'a taken name',
    method: 'CreateSchedule',
    message: creating({ spec: HOURLY }, { scheduleId: 'seed' }),
    code: 'already_exists',
    reason: 'SCHEDULE_EXISTS',
  },
];

const specs: readonly BadRequest[] = [
  create_('no schedule', { parent: PARENT, scheduleId: 'new' }, 'schedule'),
  create_('no spec', creating({}), 'schedule.spec'),
  create_('no pattern', creating({ spec: { run: RUN } }), 'schedule.spec.pattern'),
  create_('no run', creating({ spec: { cron: { expression: '0 * * * *' } } }), 'schedule.spec.run'),
  create_('no task', withSpec({ run: {} }), 'schedule.spec.run.task'),
  create_('a task with blanks', withRun({ task: 'rm -rf /' }), 'schedule.spec.run.task'),
  create_('a queue with capitals', withRun({ queue: 'Q' }), 'schedule.spec.run.queue'),
  create_(
    'a start in the year 1',
    withSpec({ startTime: '0001-01-01T00:00:00Z' }),
    'schedule.spec.start_time',
  ),
  create_(
    'a start in the year 9999',
    withSpec({ startTime: '9999-01-01T00:00:00Z' }),
    'schedule.spec.start_time',
  ),
  create_(
    'half a second in the start',
    withSpec({ startTime: '2026-01-01T00:00:00.5Z' }),
    'schedule.spec.start_time',
    'whole seconds',
  ),
  create_(
    'half a second in the end',
    withSpec({ endTime: '2190-01-01T00:00:00.5Z' }),
    'schedule.spec.end_time',
  ),
  create_(
    'an end before the start',
    withSpec({ startTime: '2190-01-02T00:00:00Z', endTime: '2190-01-01T00:00:00Z' }),
    'schedule.spec.end_time',
  ),
  create_(
    'an end at the start',
    withSpec({ startTime: '2190-01-01T00:00:00Z', endTime: '2190-01-01T00:00:00Z' }),
    'schedule.spec.end_time',
  ),
  create_('a negative jitter', withSpec({ jitter: '-1s' }), 'schedule.spec.jitter'),
  create_('a jitter of two days', withSpec({ jitter: '172800s' }), 'schedule.spec.jitter'),
  create_(
    'a jitter in nanoseconds',
    withSpec({ jitter: '0.000000001s' }),
    'schedule.spec.jitter',
    'whole milliseconds',
  ),
  create_(
    'a catch-up window of a second',
    withSpec({ catchUp: { window: '1s' } }),
    'schedule.spec.catch_up.window',
  ),
  create_(
    'an unknown catch-up policy',
    withSpec({ catchUp: { policy: 99 } }),
    'schedule.spec.catch_up.policy',
  ),
  create_('a negative overlap limit', withSpec({ overlap: { limit: -1 } }), 'schedule.spec.overlap.limit'),
  create_(
    'two things wrong',
    creating({ spec: { cron: { expression: '' }, jitter: '-1s', run: RUN } }),
    'schedule.spec.jitter',
  ),
  create_(
    'a policy that is none for overlaps',
    withSpec({ overlap: { policy: 99 } }),
    'schedule.spec.overlap.policy',
  ),
  {
    bad: 'nothing ahead',
    method: 'CreateSchedule',
    message: withPattern({ at: '2020-01-01T00:00:00Z' }),
    code: 'failed_precondition',
    reason: 'NO_FUTURE_SLOT',
  },
  {
    bad: 'bounds that have passed',
    method: 'CreateSchedule',
    message: withSpec({ endTime: '2020-01-01T00:00:00Z' }),
    code: 'failed_precondition',
    reason: 'NO_FUTURE_SLOT',
  },
];

const patterns: readonly BadRequest[] = [
  create_('an empty expression', withCron(''), 'schedule.spec.cron.expression'),
  create_('four fields', withCron('* * * *'), 'schedule.spec.cron.expression', '4 fields'),
  create_('six fields without a dialect', withCron('0 0 9 * * *'), 'schedule.spec.cron.expression'),
  create_('minute 60', withCron('60 * * * *'), 'schedule.spec.cron.expression', 'minute, column 1'),
  create_('a month of no name', withCron('0 0 1 FOO *'), 'schedule.spec.cron.expression', 'column 7'),
  create_('30 February', withCron('0 0 30 2 *'), 'schedule.spec.cron.expression'),
  create_('a zone in the expression', withCron('TZ=UTC 0 9 * * *'), 'schedule.spec.cron.expression', 'zone'),
  create_('a step of 0', withCron('*/0 * * * *'), 'schedule.spec.cron.expression'),
  create_(
    'an expression that is SQL',
    withCron("0 9 * * *'; drop table schedules"),
    'schedule.spec.cron.expression',
  ),
  create_('an expression with a NUL', withCron('0 9 * * \u0000'), 'schedule.spec.cron.expression'),
  create_(
    'an expression too long',
    withCron(`${'1,'.repeat(200)}1 * * * *`),
    'schedule.spec.cron.expression',
  ),
  create_(
    'an expression made to be slow',
    withCron(`${'*/1,'.repeat(60)}* * * * *x`),
    'schedule.spec.cron.expression',
  ),
  create_(
    'a zone that is nowhere',
    withCron('0 9 * * *', { timeZone: 'Mars/Phobos' }),
    'schedule.spec.cron.time_zone',
  ),
  create_(
    'an offset for a zone',
    withCron('0 9 * * *', { timeZone: '+02:00' }),
    'schedule.spec.cron.time_zone',
  ),
  create_(
    'an abbreviation for a zone',
    withCron('0 9 * * *', { timeZone: 'PST' }),
    'schedule.spec.cron.time_zone',
  ),
  create_(
    'a zone that is a path',
    withCron('0 9 * * *', { timeZone: '../../etc/passwd' }),
    'schedule.spec.cron.time_zone',
  ),
  create_('an unknown dialect', withCron('0 9 * * *', { dialect: 99 }), 'schedule.spec.cron.dialect'),
  create_('an unknown gap policy', withCron('0 9 * * *', { dstGap: 99 }), 'schedule.spec.cron.dst_gap'),
  create_(
    'an unknown overlap policy',
    withCron('0 9 * * *', { dstOverlap: -1 }),
    'schedule.spec.cron.dst_overlap',
  ),
  create_('a rate without an interval', withPattern({ rate: {} }), 'schedule.spec.rate.interval'),
  create_('a rate of 0', withPattern({ rate: { interval: '0s' } }), 'schedule.spec.rate.interval'),
  create_('a negative rate', withPattern({ rate: { interval: '-60s' } }), 'schedule.spec.rate.interval'),
  create_(
    'a rate of a second and a half',
    withPattern({ rate: { interval: '1.5s' } }),
    'schedule.spec.rate.interval',
    'whole seconds',
  ),
  create_(
    'a rate of eleven years',
    withPattern({ rate: { interval: '347133600s' } }),
    'schedule.spec.rate.interval',
  ),
  create_('an instant in the year 1', withPattern({ at: '0001-01-01T00:00:00Z' }), 'schedule.spec.at'),
  create_('an instant with a fraction', withPattern({ at: '2190-01-01T00:00:00.001Z' }), 'schedule.spec.at'),
];

const payloads: readonly BadRequest[] = [
  create_(
    'inputs one byte too large',
    withRun({ inputs: { data: Buffer.alloc(MEBIBYTE + 1).toString('base64') } }),
    'schedule.spec.run.inputs.data',
  ),
  create_(
    'values too large',
    withValues({ a: 'x'.repeat(MEBIBYTE) }),
    'schedule.spec.run.inputs.values',
    'bytes as JSON',
  ),
  create_('values nested too deep', withValues(nested(21)), 'schedule.spec.run.inputs.values', '20 levels'),
  create_(
    'a content type for values',
    withRun({ inputs: { values: {}, contentType: 'text/plain' } }),
    'schedule.spec.run.inputs.content_type',
  ),
  create_(
    'a content type that is none',
    withRun({ inputs: { data: 'YQ==', contentType: 'text\r\nx: y' } }),
    'schedule.spec.run.inputs.content_type',
  ),
  create_(
    'a nominal time beside data',
    withSpec({ run: { ...RUN, inputs: { data: 'YQ==' } }, nominalTimeInput: 'time' }),
    'schedule.spec.nominal_time_input',
  ),
  create_(
    'a nominal time in no identifier',
    withSpec({ nominalTimeInput: '1 x' }),
    'schedule.spec.nominal_time_input',
  ),
  create_(
    'a short attempt time-out',
    withRun({ attemptTimeout: '0.5s' }),
    'schedule.spec.run.attempt_timeout',
  ),
  create_('101 attempts', withRun({ retry: { maxAttempts: 101 } }), 'schedule.spec.run.retry.max_attempts'),
  create_(
    'a back-off of nothing',
    withRun({ retry: { initialBackoff: '0s' } }),
    'schedule.spec.run.retry.initial_backoff',
  ),
  create_(
    'a label __proto__',
    creating({ spec: HOURLY, labels: JSON.parse('{"__proto__":"x"}') }),
    'schedule.labels["__proto__"]',
  ),
  create_(
    'a label __proto__ of the run',
    withRun({ labels: JSON.parse('{"__proto__":"x"}') }),
    'schedule.spec.run.labels["__proto__"]',
  ),
  create_('a label without a key', creating({ spec: HOURLY, labels: { '': 'x' } }), 'schedule.labels[""]'),
  create_(
    'a label too long',
    creating({ spec: HOURLY, labels: { a: 'x'.repeat(64) } }),
    'schedule.labels["a"]',
  ),
  create_('a NUL in a label', creating({ spec: HOURLY, labels: { a: 'x\u0000' } }), 'schedule.labels["a"]'),
  create_(
    '33 labels',
    creating({
      spec: HOURLY,
      labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`l${i}`, ''])),
    }),
    'schedule.labels',
  ),
  create_(
    'a description too long',
    creating({ spec: HOURLY, description: 'x'.repeat(1025) }),
    'schedule.description',
  ),
  create_(
    'a NUL in the description',
    creating({ spec: HOURLY, description: 'a\u0000b' }),
    'schedule.description',
  ),
  {
    bad: '10 MB of inputs',
    method: 'CreateSchedule',
    message: withRun({ inputs: { data: Buffer.alloc(10_000_000).toString('base64') } }),
    code: 'resource_exhausted',
  },
  {
    bad: 'an infinite value',
    method: 'CreateSchedule',
    json: JSON.stringify(withValues({ a: 12345 })).replace('12345', '1e400'),
    code: 'invalid_argument',
  },
  {
    bad: 'an infinite value',
    method: 'CreateSchedule',
    binary: toBinary(
      CreateScheduleRequestSchema,
      create(CreateScheduleRequestSchema, {
        parent: PARENT,
        scheduleId: 'new',
        schedule: {
          spec: {
            pattern: { case: 'cron', value: { expression: '0 * * * *' } },
            run: {
              task: 't',
              inputs: { content: { case: 'values', value: { a: Number.POSITIVE_INFINITY } } },
            },
          },
        },
      }),
    ),
    code: 'invalid_argument',
  },
];

const wire: readonly BadRequest[] = [
  { bad: 'no JSON', method: 'CreateSchedule', json: '{"parent":', code: 'invalid_argument' },
  { bad: 'a list for a message', method: 'CreateSchedule', json: '[]', code: 'invalid_argument' },
  {
    bad: 'a text for a message',
    method: 'CreateSchedule',
    json: '{"schedule":"x"}',
    code: 'invalid_argument',
    says: 'schedule',
  },
  {
    bad: 'an unknown field',
    method: 'CreateSchedule',
    json: '{"parrent":"x"}',
    code: 'invalid_argument',
    says: 'parrent',
  },
  {
    bad: 'an unknown field within',
    method: 'CreateSchedule',
    json: JSON.stringify(withCron('0 9 * * *', { timezone: 'UTC' })),
    code: 'invalid_argument',
    says: 'timezone',
  },
  {
    bad: 'an unknown word of an enum',
    method: 'CreateSchedule',
    json: JSON.stringify(withCron('0 9 * * *', { dialect: 'QUARTZ' })),
    code: 'invalid_argument',
    says: 'QUARTZ',
  },
  {
    bad: 'two patterns',
    method: 'CreateSchedule',
    json: JSON.stringify(withSpec({ rate: { interval: '60s' } })),
    code: 'invalid_argument',
  },
  {
    bad: 'a duration in words',
    method: 'CreateSchedule',
    json: JSON.stringify(withPattern({ rate: { interval: '5m' } })),
    code: 'invalid_argument',
  },
  {
    bad: 'half a character',
    method: 'CreateSchedule',
    json: JSON.stringify(creating({ spec: HOURLY, description: '\ud800' })),
    code: 'invalid_argument',
  },
  {
    bad: 'half a character in the values',
    method: 'CreateSchedule',
    json: JSON.stringify(withValues({ a: '\ud800' })),
    code: 'invalid_argument',
  },
  {
    bad: 'a thousand levels',
    method: 'CreateSchedule',
    json: JSON.stringify(withValues(nested(1000))),
    code: 'invalid_argument',
  },
  {
    bad: 'a hundred thousand levels',
    method: 'CreateSchedule',
    json: JSON.stringify(withValues({ a: 1 })).replace(
      '{"a":1}',
      `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`,
    ),
    code: 'invalid_argument',
  },
  // What gRPC's table of codes has for a request that cannot be decoded.
  {
    bad: 'no protobuf',
    method: 'CreateSchedule',
    binary: new Uint8Array([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    code: 'internal',
  },
  {
    bad: 'no UTF-8',
    method: 'GetSchedule',
    binary: new Uint8Array([0x0a, 0x02, 0xff, 0xfe]),
    code: 'internal',
  },
];

/** Requests that create nothing, and what cannot even be read. */
export const badScheduleCreations: readonly BadRequest[] = [
  ...names,
  ...specs,
  ...patterns,
  ...payloads,
  ...wire,
];
