import { ScheduleState } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { ResourceInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runCommandLine } from '../host-under-test.ts';
import { FakeScheduleService } from './schedule-service-under-test.ts';

const NAME = 'projects/p/domains/d/schedules/a';
const FILE = `
name: p/d/a
cron: "0 9 * * *"
task: t
---
name: p/d/b
every: 5s
task: t
`;

async function applied(): Promise<FakeScheduleService> {
  const service = new FakeScheduleService();
  const result = await runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), {
    input: FILE,
  });
  expect(result.exitCode).toBe(0);
  return service;
}

describe('schedules apply', () => {
  it('says what it did, schedule by schedule', async () => {
    const service = new FakeScheduleService();
    const apply = (input: string) =>
      runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), { input });
    expect((await apply(FILE)).stdout).toBe(
      'created    p/d/a  0 9 * * * UTC\ncreated    p/d/b  every 5s\n2 created\n',
    );
    expect((await apply(FILE)).stdout).toContain('2 unchanged');
    const third = await apply(FILE.replace('5s', '7s'));
    expect(third.stdout).toBe(
      'unchanged  p/d/a  0 9 * * * UTC\nupdated    p/d/b  every 7s\n1 updated, 1 unchanged\n',
    );
    expect(service.schedules.get(NAME)?.revision).toBe(1);
  });

  it('writes nothing in a dry run', async () => {
    const service = new FakeScheduleService();
    const result = await runCommandLine(['schedules', 'apply', '-f', '-', '--dry-run'], service.transport(), {
      input: FILE,
    });
    expect(result).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('2 created (dry run: nothing was written)'),
    });
    expect(service.schedules.size).toBe(0);
    expect(service.requests).toMatchObject([
      { request: { validateOnly: true } },
      { request: { validateOnly: true } },
    ]);
  });

  it('sends nothing of a file with a mistake in it', async () => {
    const service = new FakeScheduleService();
    const input = `${FILE}---\nname: p/d/c\nevery: 5s\ntask: t\nowner: me\n`;
    const result = await runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), { input });
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain('error: stdin:13:1: unknown key "owner"');
    expect(service.requests).toEqual([]);
  });

  it('refuses a name that is given twice', async () => {
    const result = await runCommandLine(['schedules', 'apply', '-f', '-'], undefined, {
      input: 'name: p/d/a\nevery: 5s\n---\nname: projects/p/domains/d/schedules/a\nevery: 6s\n',
    });
    expect(result).toMatchObject({
      exitCode: 2,
      stderr: 'error: stdin:4:1: p/d/a was given before, at stdin:1:1\n',
    });
  });

  it('points to the line of what the server refuses, and applies the rest', async () => {
    const service = new FakeScheduleService();
    const input = FILE.replace('0 9 * * *', '61 9 * * *');
    const result = await runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), { input });
    expect(result.exitCode).toBe(2);
    expect(result.stdout).toBe('failed     p/d/a\ncreated    p/d/b  every 5s\n1 created, 1 failed\n');
    expect(result.stderr).toContain(
      'stdin:3:7: schedule.spec.cron.expression: minute, column 1: 61 is out of range',
    );
  });

  it('creates inactive ones once, and leaves existing ones as active as they are', async () => {
    const service = new FakeScheduleService();
    const input = 'name: p/d/a\nevery: 5s\ntask: t\ninactive: true\n';
    const apply = () => runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), { input });
    expect((await apply()).stdout).toContain('1 created');
    expect(service.schedules.get(NAME)?.state).toBe(ScheduleState.INACTIVE);
    expect((await apply()).stdout).toContain('1 unchanged');
    expect(service.requests.map(({ method }) => method)).toEqual(['update', 'create', 'update']);
  });

  it('applies again what get printed, and refuses it when it is stale', async () => {
    const service = await applied();
    const yaml = (await runCommandLine(['schedules', 'get', 'p/d/a', '-o', 'yaml'], service.transport()))
      .stdout;
    const again = await runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), {
      input: yaml,
    });
    expect(again.stdout).toContain('1 unchanged');
    service.schedules.get(NAME)!.etag = '99';
    const stale = await runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), {
      input: yaml,
    });
    expect(stale.exitCode).toBe(4);
    expect(stale.stderr).toContain('reason: STALE_ETAG currentEtag=99');
  });

  it('answers in JSON', async () => {
    const service = new FakeScheduleService();
    const result = await runCommandLine(
      ['schedules', 'apply', '-f', '-', '-o', 'json'],
      service.transport(),
      { input: FILE },
    );
    expect(JSON.parse(result.stdout)).toMatchObject({
      results: [
        { name: NAME, change: 'created', schedule: { spec: { run: { task: 't' } } } },
        { change: 'created' },
      ],
    });
  });
});

describe('schedules list and get', () => {
  it('reads all pages into one table', async () => {
    const service = await applied();
    await runCommandLine(['schedules', 'apply', '-f', '-'], service.transport(), {
      input: 'name: p/d/c\nat: 2038-01-19T03:14:07Z\ntask: t\n',
    });
    const { stdout } = await runCommandLine(
      ['schedules', 'list', '--filter', 'state = ACTIVE'],
      service.transport(),
    );
    expect(stdout.split('\n')).toEqual([
      'NAME   STATE   WHEN                     TASK  REV  UPDATED',
      'p/d/a  active  0 9 * * * UTC            t       1  1970-01-01 00:00:00Z',
      'p/d/b  active  every 5s                 t       1  1970-01-01 00:00:00Z',
      'p/d/c  active  at 2038-01-19 03:14:07Z  t       1  1970-01-01 00:00:00Z',
      '',
    ]);
    expect(service.requests.at(-1)).toMatchObject({
      request: { parent: 'projects/-/domains/-', filter: 'state = ACTIVE', pageToken: '2' },
    });
  });

  it('stops at the limit, and says so', async () => {
    const service = await applied();
    const { stdout, stderr } = await runCommandLine(
      ['schedules', 'ls', '--limit', '1', '-o', 'json'],
      service.transport(),
    );
    expect(JSON.parse(stdout).schedules).toHaveLength(1);
    expect(stderr).toContain('there are more');
  });

  it('shows a schedule to people and to programs', async () => {
    const service = await applied();
    const table = await runCommandLine(['schedules', 'get', 'a', '-p', 'p', '-d', 'd'], service.transport());
    expect(table.stdout).toMatch(/^p\/d\/a {2}active\n/);
    expect(table.stdout).toMatch(/when +0 9 \* \* \* UTC\n/);
    expect(table.stdout).toMatch(/next\n {2}2072-12-31 00:00:00Z {2}in 4\d y/);
    const yaml = await runCommandLine(['schedules', 'get', NAME, '-o', 'yaml'], service.transport());
    expect(parse(yaml.stdout)).toMatchObject({ name: NAME, spec: { cron: { expression: '0 9 * * *' } } });
  });

  it('lets no control character of a description reach the terminal', async () => {
    const service = await applied();
    service.schedules.get(NAME)!.description = 'red\u001b[31m\u202eder';
    const { stdout } = await runCommandLine(['schedules', 'get', 'p/d/a'], service.transport());
    expect(stdout).toContain('red\ufffd[31m\ufffdder');
  });
});

describe('schedules activate, deactivate, pause, unpause, delete, revisions', () => {
  it.each([
    [
      ['activate', 'p/d/a', '--revision', '1'],
      { name: NAME, revision: 1, etag: '' },
      'p/d/a  active  revision 1\n',
    ],
    [['deactivate', 'p/d/a', '--etag', '1'], { name: NAME, etag: '1' }, 'p/d/a  inactive\n'],
    [['pause', 'p/d/a', '--reason', 'why not'], { name: NAME, reason: 'why not' }, 'p/d/a  paused\n'],
    [['unpause', 'p/d/a'], { name: NAME }, 'p/d/a  active  revision 1\n'],
    [['delete', 'p/d/a'], { name: NAME, allowMissing: false }, 'p/d/a  deleted\n'],
  ])('%j', async (commandLine, request, stdout) => {
    const service = await applied();
    const result = await runCommandLine(['schedules', ...commandLine], service.transport());
    expect(result).toEqual({ exitCode: 0, stdout, stderr: '' });
    expect(service.requests.at(-1)).toMatchObject({ method: commandLine[0], request });
  });

  it('deletes what does not exist only if told so', async () => {
    const service = new FakeScheduleService();
    expect((await runCommandLine(['schedules', 'delete', 'x'], service.transport())).exitCode).toBe(3);
    const result = await runCommandLine(['schedules', 'delete', 'x', '--allow-missing'], service.transport());
    expect(result).toMatchObject({
      exitCode: 0,
      stdout: 'projects/default/domains/default/schedules/x'.replace(
        /.*/,
        'default/default/x  does not exist\n',
      ),
    });
  });

  it('lists revisions', async () => {
    const service = await applied();
    const { stdout } = await runCommandLine(['schedules', 'revisions', 'p/d/b'], service.transport());
    expect(stdout).toMatch(/REV {2}WHEN +TASK {2}BY +CREATED\n +1 {2}every 5s {2}t +ann/);
  });
});

describe('schedules preview', () => {
  it('asks the server about a schedule, with its jitter', async () => {
    const service = await applied();
    const { stdout } = await runCommandLine(
      ['schedules', 'preview', 'p/d/a', '-n', '3'],
      service.transport(),
    );
    expect(stdout).toContain('every minute\n\nUTC                   LOCAL                 DUE');
    expect(stdout).toContain('+1.5 s');
    expect(service.requests.at(-1)).toMatchObject({
      request: { source: { case: 'name', value: NAME }, count: 3 },
    });
  });

  it('marks what a calendar takes away, unless told to leave it out', async () => {
    const service = await applied();
    const preview = async (...args: string[]): Promise<string> =>
      (await runCommandLine(['schedules', 'preview', 'p/d/a', ...args], service.transport())).stdout;
    expect(await preview()).toMatch(/EXCLUDED BY\n.*\n1970-01-02 00:01:00Z .* past {2}holidays\n$/);
    expect(await preview('--no-excluded')).not.toContain('1970-01-02');
    const month = (await preview('--month', '1970-01')).split('\n');
    expect(month.find((line) => line.includes('excluded'))?.trim()).toBe('00:01      excluded');
  });

  it('computes a spec by options without any server', async () => {
    const args = [
      '--cron',
      '30 2 * * *',
      '--time-zone',
      'Europe/Berlin',
      '--from',
      '2026-03-28',
      '--to',
      '2026-03-30',
    ];
    const { stdout, exitCode } = await runCommandLine(['schedules', 'preview', ...args]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('2026-03-28 01:30:00Z  2026-03-28T02:30:00+01:00');
    expect(stdout).toContain(
      '2026-03-29 01:00:00Z  2026-03-29T03:00:00+02:00  past  moved: its time is skipped',
    );
    expect(stdout.trim().split('\n')).toHaveLength(5);
  });

  it('knows rates with their start, one-shots, words for policies, and JSON', async () => {
    const rate = [
      '--every',
      '1h',
      '--start',
      '2026-01-01T00:30:00Z',
      '--from',
      '2026-01-01T02:00:00Z',
      '-n',
      '1',
    ];
    expect((await runCommandLine(['schedules', 'preview', ...rate])).stdout).toContain(
      '2026-01-01 02:30:00Z',
    );
    const once = await runCommandLine(['schedules', 'preview', '--at', '2038-01-19T03:14:07Z', '-o', 'json']);
    expect(JSON.parse(once.stdout)).toMatchObject({ slots: [{ nominalTime: '2038-01-19T03:14:07Z' }] });
    const skip = [
      '--cron',
      '30 2 29 3 *',
      '--time-zone',
      'Europe/Berlin',
      '--dst-gap',
      'skip',
      '--from',
      '2026-01-01',
      '-n',
      '1',
    ];
    expect((await runCommandLine(['schedules', 'preview', ...skip])).stdout).toContain('2027-03-29');
  });

  it('draws a month', async () => {
    const args = ['--cron', '0 9,17 * * MON', '--month', '2026-02', '--time-zone', 'Pacific/Auckland'];
    const { stdout } = await runCommandLine(['schedules', 'preview', ...args]);
    const lines = stdout.split('\n');
    expect(lines).toContain('February 2026');
    expect(lines).toContain('2          3          4          5          6          7          8');
    expect(lines.filter((line) => line.startsWith('09:00 +1'))).toHaveLength(4);
  });

  it('answers batches line by line', async () => {
    const input =
      '{"id":"a","expression":"0 9 * * *","after":"2026-01-01T00:00:00Z","count":2}\n\nnonsense\n';
    const { stdout } = await runCommandLine(['schedules', 'preview', '--batch'], undefined, { input });
    const answers = stdout
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(answers).toMatchObject([
      { id: 'a', next: ['2026-01-01T09:00:00Z', '2026-01-02T09:00:00Z'] },
      { id: null, error: { kind: 'MALFORMED' } },
    ]);
  });

  it.each([
    [['--cron', '61 * * * *'], 'error: minute, column 1'],
    [['--cron', '0 0 30 2 *'], 'error: '],
    [[], 'what is to be previewed?'],
    [['a', '--every', '5s'], 'what is to be previewed?'],
    [['--every', '5s', '--at', '2026-01-01'], 'only one of'],
    [['--every', '5'], 'It is a duration'],
    [['--cron', '* * * * *', '--from', 'soon'], '--from: "soon" is not a time'],
    [['--cron', '* * * * *', '--month', '2026-13'], 'It is YYYY-MM'],
    [['--cron', '* * * * *', '-n', '0'], 'It is a whole number from 1 to 1000'],
    [['--cron', '* * * * *', '--dst-gap', 'jump'], 'It is one of auto, next-valid, shift, skip'],
  ])('refuses %j', async (args, message) => {
    const result = await runCommandLine(['schedules', 'preview', ...args]);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain(message);
  });
});

describe('failures', () => {
  it.each([
    [Code.InvalidArgument, 2],
    [Code.NotFound, 3],
    [Code.AlreadyExists, 4],
    [Code.Aborted, 4],
    [Code.FailedPrecondition, 4],
    [Code.Unavailable, 5],
    [Code.DeadlineExceeded, 5],
    [Code.ResourceExhausted, 5],
    [Code.Unauthenticated, 6],
    [Code.PermissionDenied, 6],
    [Code.Internal, 1],
    [Code.Unimplemented, 1],
  ])('code %i exits with %i', async (code, exitCode) => {
    const transport = createRouterTransport(({ service }) => {
      service(ScheduleService, {
        getSchedule: () => {
          throw new ConnectError('because', code);
        },
      });
    });
    const result = await runCommandLine(['schedules', 'get', 'a'], transport);
    expect(result).toEqual({ exitCode, stdout: '', stderr: 'error: because\n' });
  });

  it.each([
    [
      'projects/default/domains/default/schedules/a',
      [
        'error: there is no schedule default/default/a',
        '  A name alone is looked for in default/default: give PROJECT/DOMAIN/NAME, or -p and -d.',
        '  "carillon schedules list" lists those there are.',
      ],
    ],
    [
      'projects/p/domains/d/runs/r',
      ['error: there is no run p/d/r', '  "carillon runs list" lists those there are.'],
    ],
    [
      'projects/p/domains/d/schedules/a/revisions/9',
      ['error: p/d/a has no revision 9', '  "carillon schedules revisions p/d/a" lists those it has.'],
    ],
    ['somewhere/else', ['error: because']],
  ])('says of %s that it does not exist, and where to look', async (resourceName, lines) => {
    const transport = createRouterTransport(({ service }) => {
      service(ScheduleService, {
        getSchedule: () => {
          const detail = { desc: ResourceInfoSchema, value: { resourceName } };
          throw new ConnectError('because', Code.NotFound, undefined, [detail]);
        },
      });
    });
    const result = await runCommandLine(['schedules', 'get', 'a'], transport);
    expect(result).toEqual({ exitCode: 3, stdout: '', stderr: `${lines.join('\n')}\n` });
  });

  it('says where nobody listens, and what to do', async () => {
    const nobody = await runCommandLine(['schedules', 'list'], undefined, {
      environment: {},
      workingDirectory: '/',
    });
    expect(nobody.exitCode).toBe(5);
    expect(nobody.stderr).toContain('start everything with "npm start"');
    const noUrl = await runCommandLine(['schedules', 'list', '--server', 'localhost']);
    expect(noUrl).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('--server: "localhost" is not a URL'),
    });
  });

  it.each([
    [['schedules', 'lst'], "unknown command 'lst'"],
    [['schedules', 'list', '--frob'], "unknown option '--frob'"],
    [['schedules', 'get'], "missing required argument 'name'"],
    [['schedules', 'get'], 'See "carillon schedules get --help".'],
    [['schedules', 'create', 'nightly', '--cron', '0 2 * * *'], '"carillon schedules apply -f FILE"'],
    [['schedules', 'get', 'A/b'], '"A/b" is not the name of a schedule'],
    [['schedules', 'list', '-o', 'xml'], 'It is one of table, json and yaml.'],
    [['schedules', 'list', '--timeout', 'never'], 'It is a duration'],
    [['schedules', 'apply', '-f', '/nowhere.yaml'], '/nowhere.yaml cannot be read'],
  ])('exits with 2 for %j', async (commandLine, message) => {
    const result = await runCommandLine(commandLine);
    expect(result.exitCode).toBe(2);
    expect(result.stderr).toContain(message);
  });

  it('prints help and version with 0', async () => {
    for (const commandLine of [
      ['--help'],
      ['schedules', 'apply', '--help'],
      ['runs', 'watch', '-h'],
      ['dev', '--help'],
    ]) {
      const result = await runCommandLine(commandLine);
      expect(result).toMatchObject({
        exitCode: 0,
        stderr: '',
        stdout: expect.stringContaining('Usage: carillon'),
      });
    }
    expect(await runCommandLine(['version'])).toEqual(await runCommandLine(['--version']));
  });
});
