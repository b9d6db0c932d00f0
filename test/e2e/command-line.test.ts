import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type CommandResult, carillon, DevStack, devFolder } from '../support/dev-stack.ts';
import { useDatabase } from '../support/postgres.ts';

const database = useDatabase();
const place = await devFolder();
let stack: DevStack;

beforeAll(async () => {
  stack = new DevStack({ folder: place.folder, databaseUrl: database.url, options: ['--no-examples'] });
  await stack.ready();
});
afterAll(async () => {
  expect(await stack.stop()).toEqual({ code: 0, signal: null });
  await place.remove();
});

/** Runs `carillon` in the folder above `.carillon`, where it finds the services by itself. */
function run(args: readonly string[], input?: string): Promise<CommandResult> {
  return carillon(place.parent, args, input === undefined ? {} : { input });
}

async function output(args: readonly string[], input?: string): Promise<string> {
  const result = await run(args, input);
  expect(result, `carillon ${args.join(' ')}`).toMatchObject({ code: 0, stderr: '' });
  return result.stdout;
}

const FILE = `
name: p/d/nightly
cron: "30 2 * * *"
timeZone: Europe/Berlin
labels: { team: payments }
task: command
inputs: { command: [/bin/echo, hi] }
---
name: p/d/tick
every: 1s
task: command
inputs: { command: [/bin/date] }
`;

describe('carillon against running services', () => {
  it('takes a schedule through its life', async () => {
    expect(await output(['schedules', 'apply', '-f', '-', '--dry-run'], FILE)).toContain(
      '2 created (dry run',
    );
    expect(await output(['schedules', 'apply', '-f', '-'], FILE)).toContain('2 created\n');
    expect(await output(['schedules', 'apply', '-f', '-'], FILE)).toContain('2 unchanged\n');
    expect(await output(['schedules', 'list', '--filter', 'labels.team = "payments"'])).toMatch(
      /^NAME .*\np\/d\/nightly +active +30 2 \* \* \* Europe\/Berlin +command +1 /,
    );
    expect(await output(['schedules', 'get', 'p/d/nightly'])).toContain(
      'every day at 02:30 in Europe/Berlin',
    );

    const yaml = await output(['schedules', 'get', 'p/d/nightly', '-o', 'yaml']);
    expect(await output(['schedules', 'apply', '-f', '-'], yaml)).toContain('1 unchanged\n');
    const edited = yaml.replace('30 2 * * *', '45 2 * * *');
    expect(await output(['schedules', 'apply', '-f', '-'], edited)).toContain('1 updated\n');
    const stale = await run(['schedules', 'apply', '-f', '-'], edited.replace('45 2', '50 2'));
    expect(stale).toMatchObject({ code: 4, stdout: expect.stringContaining('failed     p/d/nightly') });
    expect(await output(['schedules', 'revisions', 'p/d/nightly'])).toMatch(/ 2 {2}45 2[^\n]*\n +1 {2}30 2/);

    expect(await output(['schedules', 'pause', 'p/d/nightly', '--reason', 'moving'])).toMatch(/paused/);
    expect(parse(await output(['schedules', 'get', 'p/d/nightly', '-o', 'yaml']))).toMatchObject({
      state: 'SCHEDULE_STATE_PAUSED',
      pause: { reason: 'moving' },
    });
    expect(await output(['schedules', 'unpause', 'p/d/nightly'])).toMatch(/active/);
    expect(await output(['schedules', 'deactivate', 'p/d/nightly'])).toMatch(/inactive/);
    expect(await output(['schedules', 'activate', 'p/d/nightly', '--revision', '1'])).toContain('revision 1');
    expect(
      await output(['schedules', 'preview', 'p/d/nightly', '--from', '2026-03-28', '-n', '2']),
    ).toContain('2026-03-29T03:00:00+02:00  past  moved: its time is skipped');
    expect(await output(['schedules', 'delete', 'p/d/nightly'])).toContain('deleted');
    expect(await run(['schedules', 'get', 'p/d/nightly'])).toMatchObject({ code: 3, stdout: '' });
  });

  it('points to the line that the service refuses', async () => {
    const input = 'name: p/d/bad\ntask: t\ncron: "61 * * * *"\n';
    const result = await run(['schedules', 'apply', '-f', '-'], input);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(/stdin:3:7: schedule\.spec\.cron\.expression: .*61/);
  });

  it('creates, follows, shows and aborts runs', async () => {
    const done = await output([
      ...['runs', 'create', 'command', '--id', 'hello', '--input', 'command=["/bin/echo","hello there"]'],
      ...['-p', 'p', '-d', 'd', '--wait'],
    ]);
    expect(done).toMatch(/^p\/d\/hello {2}✓ succeeded\n/);
    expect(done).toContain('hello there');
    expect(await run(['runs', 'create', 'command', '--id', 'hello', '-p', 'p', '-d', 'd'])).toMatchObject({
      code: 4,
    });
    expect(JSON.parse(await output(['runs', 'get', 'p/d/hello', '-o', 'json']))).toMatchObject({
      phase: 'RUN_PHASE_SUCCEEDED',
    });

    const refused = await run(['runs', 'create', 'command', '--input', 'command=["/bin/rm","x"]', '--wait']);
    expect(refused).toMatchObject({ code: 1, stdout: expect.stringContaining('✗ failed') });

    await output([
      'runs',
      'create',
      'command',
      '--id',
      'long',
      '--input',
      'command=["/bin/sleep","60"]',
      '-p',
      'p',
      '-d',
      'd',
    ]);
    const watching = run(['runs', 'watch', 'p/d/long']);
    await output(['runs', 'abort', 'p/d/long', '--reason', 'enough']);
    expect(await watching).toMatchObject({ code: 1, stdout: expect.stringMatching(/aborted/) });
    expect(await output(['runs', 'get', 'p/d/long'])).toContain('enough');
    expect(await output(['runs', 'list', '--phase', 'aborted'])).toMatch(/■ aborted +p\/d\/long/);
  });

  it('watches the runs of a schedule until Ctrl-C, and lists them', async () => {
    const interrupt = new AbortController();
    const watching = carillon(place.parent, ['runs', 'watch', '--schedule', 'p/d/tick', '-o', 'json'], {
      signal: interrupt.signal,
    });
    // Long enough for the watch to begin: three slots of a second.
    for (let seen = 0; seen < 3; seen += 1)
      await stack.line(/ run +succeeded .* of p\/d\/tick /, stack.lines.length);
    interrupt.abort();
    const { code, stdout } = await watching;
    expect(code).toBe(0);
    const watched = stdout
      .trim()
      .split('\n')
      .map((line): { name: string; schedule: string } => JSON.parse(line));
    expect(new Set(watched.map(({ schedule }) => schedule))).toEqual(
      new Set(['projects/p/domains/d/schedules/tick']),
    );
    const { runs } = JSON.parse(await output(['runs', 'list', '--schedule', 'p/d/tick', '-o', 'json']));
    expect(runs.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining([watched[0]?.name]),
    );
  });

  it('knows when nobody is there', async () => {
    expect(await run(['runs', 'list', '--runs-server', 'http://127.0.0.1:1'])).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('http://127.0.0.1:1 cannot be reached'),
    });
    expect(await carillon('/', ['runs', 'list'])).toMatchObject({ code: 5 });
  });
});
