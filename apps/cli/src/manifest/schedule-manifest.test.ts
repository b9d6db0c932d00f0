import { toJson } from '@bufbuild/protobuf';
import { ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { describe, expect, it } from 'vitest';
import { CliError } from '../exit-code.ts';
import { renderMessage } from '../output-format.ts';
import { ManifestSource } from './manifest-source.ts';
import { readScheduleManifest, type ScheduleManifest } from './schedule-manifest.ts';

const DEFAULTS = { project: 'default', domain: 'default' };

function read(text: string): ScheduleManifest[] {
  const source = new ManifestSource('file.yaml', text);
  return source.entries().map((entry) => readScheduleManifest(source, entry, DEFAULTS));
}

function only(text: string): ScheduleManifest {
  const [manifest] = read(text);
  if (manifest === undefined) throw new Error('no schedule was read');
  return manifest;
}

function refusal(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof CliError) return [error.message, ...error.details].join('\n');
    throw error;
  }
  throw new Error('it was accepted');
}

const SHORT = `
name: payments/production/settle
description: Settles the ledger
labels: { team: payments }
cron: "0 18 * * MON-FRI"
timeZone: Europe/Berlin
dstGap: skip
jitter: 1m30s
overlap: allow
catchUp: { window: 2d }
task: settle
queue: slow
inputs: { ledger: main, limits: [1, 2.5, null], nested: { deep: true } }
retry: { maxAttempts: 3, initialBackoff: 500ms }
attemptTimeout: 15m
nominalTimeInput: at
`;

const NESTED = `
name: projects/payments/domains/production/schedules/settle
description: Settles the ledger
labels:
  team: payments
spec:
  cron:
    expression: 0 18 * * MON-FRI
    timeZone: Europe/Berlin
    dstGap: DST_GAP_SKIP
  jitter: 90s
  overlap: { policy: OVERLAP_POLICY_ALLOW }
  catchUp: { window: 172800s }
  nominalTimeInput: at
  run:
    task: settle
    queue: slow
    inputs: { values: { ledger: main, limits: [1, 2.5, null], nested: { deep: true } } }
    retry: { maxAttempts: 3, initialBackoff: 0.5s }
    attemptTimeout: 900s
`;

describe('a schedule in a manifest', () => {
  it('means the same in the short and in the nested form', () => {
    const short = toJson(ScheduleSchema, only(SHORT).schedule);
    expect(short).toEqual(toJson(ScheduleSchema, only(NESTED).schedule));
    expect(short).toMatchObject({
      name: 'projects/payments/domains/production/schedules/settle',
      spec: {
        cron: { expression: '0 18 * * MON-FRI' },
        jitter: '90s',
        run: { retry: { initialBackoff: '0.500s' } },
      },
    });
  });

  it('is read back from what get -o yaml prints, without what only the server says', () => {
    const { schedule } = only(SHORT);
    schedule.uid = 'an-uid';
    schedule.revision = 7;
    schedule.generation = 9n;
    schedule.etag = '9';
    const again = only(renderMessage(ScheduleSchema, schedule, 'yaml')).schedule;
    expect(toJson(ScheduleSchema, again)).toEqual({
      ...Object(toJson(ScheduleSchema, only(SHORT).schedule)),
      etag: '9',
    });
  });

  it('fires at a rate or once as well', () => {
    const [rate, once] = read(`
- { name: tick, every: 1h30m, startTime: 2026-01-01T00:00:00Z, task: t }
- { name: once, at: 2038-01-19T03:14:07Z, task: t, inactive: true }
`);
    expect(toJson(ScheduleSchema, rate!.schedule)).toMatchObject({
      name: 'projects/default/domains/default/schedules/tick',
      spec: { rate: { interval: '5400s' }, startTime: '2026-01-01T00:00:00Z' },
    });
    expect(toJson(ScheduleSchema, once!.schedule)).toMatchObject({ spec: { at: '2038-01-19T03:14:07Z' } });
    expect(once?.inactive).toBe(true);
  });

  it('counts calendar intervals, and leaves exclusion calendars out', () => {
    const { schedule } = only(`
name: quarterly
calendar: { unit: month, every: 3, startDate: 2026-01-01, times: ["09:00"], weekday: { day: friday, nth: -1 } }
exclusions: [{ name: closed, dates: ["2026-12-25"], weekly: [{ weekdays: [sunday] }] }]
task: t
`);
    expect(toJson(ScheduleSchema, schedule)).toMatchObject({
      spec: {
        calendar: {
          unit: 'CALENDAR_UNIT_MONTH',
          every: 3,
          startDate: '2026-01-01',
          weekday: { day: 'WEEKDAY_FRIDAY', nth: -1 },
        },
        exclusions: [{ name: 'closed', dates: ['2026-12-25'], weekly: [{ weekdays: ['WEEKDAY_SUNDAY'] }] }],
      },
    });
  });

  it('comes in documents, in lists, with anchors, and with project and domain beside the name', () => {
    const manifests = read(`
name: a
project: p
domain: d
every: 5s
task: &task shared
---
# nothing here
---
- { name: b, every: 5s, task: t, labels: &labels { team: x } }
- { name: c, every: 5s, task: t, labels: *labels }
`);
    expect(manifests.map(({ schedule }) => schedule.name)).toEqual([
      'projects/p/domains/d/schedules/a',
      'projects/default/domains/default/schedules/b',
      'projects/default/domains/default/schedules/c',
    ]);
    expect(manifests[2]?.schedule.labels).toEqual({ team: 'x' });
  });

  it('knows where the field of a violation stands, or what is around it', () => {
    const { locate } = only(SHORT);
    expect(locate('schedule.spec.cron.expression')).toBe('file.yaml:5:7');
    expect(locate('schedule.spec.cron.time_zone')).toBe('file.yaml:6:11');
    expect(locate('schedule.spec.run.retry.max_attempts')).toBe('file.yaml:14:23');
    expect(locate('schedule.labels["team"]')).toBe('file.yaml:4:17');
    expect(locate('schedule.spec.run.inputs.values')).toBe('file.yaml:13:9');
    expect(locate('schedule.spec.pattern')).toBe('file.yaml:2:1');
    expect(locate('update_mask')).toBeUndefined();
  });

  it.each([
    [
      'an unknown key',
      'name: a\nevery: 5s\ntaks: t',
      'file.yaml:3:1: unknown key "taks"; did you mean "task"?',
    ],
    [
      'an unknown nested key',
      'name: a\ncron:\n  expresion: x\ntask: t',
      'file.yaml:3:3: unknown key "expresion"',
    ],
    ['a key twice', 'name: a\nname: b\nevery: 5s', 'file.yaml:2:1: Map keys must be unique'],
    ['both forms', 'name: a\nevery: 5s\ntask: t\nspec: { run: { task: u } }', 'task is given twice'],
    [
      'two patterns',
      'name: a\nevery: 5s\ncron: "* * * * *"\ntask: t',
      'only one of cron, every, at and calendar may be given',
    ],
    ['no pattern', 'name: a\ntask: t', 'file.yaml:1:1: when does it fire?'],
    ['no name', 'every: 5s\ntask: t', 'a schedule needs a name'],
    ['a bad name', 'name: A_b\nevery: 5s', 'file.yaml:1:7: "A_b" is not the name of a schedule'],
    ['a bad project', 'project: P\nname: a\nevery: 5s', 'file.yaml:1:10: "P" is not a project'],
    [
      'a zone without cron',
      'name: a\nevery: 5s\ntimeZone: UTC\ntask: t',
      'file.yaml:3:1: timeZone stands beside cron',
    ],
    [
      'a duration without unit',
      'name: a\nevery: 5\ntask: t',
      'file.yaml:2:8: this must be a duration with its unit',
    ],
    [
      'a time without offset',
      'name: a\nat: 2026-01-01\ntask: t',
      'file.yaml:2:5: this must be a time with its offset',
    ],
    [
      'a day that is none',
      'name: a\nat: 2026-02-30T00:00:00Z\ntask: t',
      'this must be a time with its offset',
    ],
    [
      'an unknown word',
      'name: a\nevery: 5s\noverlap: never\ntask: t',
      'file.yaml:3:10: this must be one of ALLOW, SKIP,',
    ],
    ['a number for text', 'name: a\nevery: 5s\ntask: 7', 'file.yaml:3:7: this must be text: write "7"'],
    ['text for a number', 'name: a\nevery: 5s\nretry: { maxAttempts: x }', 'this must be a whole number'],
    ['text for a switch', 'name: a\nevery: 5s\ninactive: "no"', 'inactive must be true or false'],
    ['a list for a mapping', 'name: a\nevery: 5s\nlabels: [x]', 'labels must be a mapping'],
    ['inputs that are none', 'name: a\nevery: 5s\ninputs: 5', 'this must be a mapping'],
    ['inputs that JSON lacks', 'name: a\nevery: 5s\ninputs: { x: .nan }', 'a value that JSON does not have'],
    ['an unquoted star', 'name: a\ncron: */5 * * * *\ntask: t', 'must stand in quotes'],
    ['no YAML', 'name: [a', 'file.yaml:1:'],
    ['a scalar', 'hello', 'a schedule must be a mapping'],
    ['an alias of nothing', 'name: a\nevery: 5s\nlabels: *x', 'file.yaml:3:9'],
  ])('is refused with its place: %s', (_, text, expected) => {
    expect(refusal(text)).toContain(expected);
  });

  it('keeps a label called __proto__ for the server to judge', () => {
    const { schedule } = only('name: a\nevery: 5s\ntask: t\nlabels: { __proto__: x }');
    expect(Object.keys(schedule.labels)).toEqual(['__proto__']);
  });
});
