import { clone } from '@bufbuild/protobuf';
import { type Run, RunPhase, RunSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { runCommandLine } from '../host-under-test.ts';
import { FakeRunService } from './run-service-under-test.ts';

const NAME = 'projects/p/domains/d/runs/r1';

function later(run: Run, version: bigint, phase: RunPhase): Run {
  const next = clone(RunSchema, run);
  next.version = version;
  next.phase = phase;
  return next;
}

describe('runs list, get, abort', () => {
  it('lists runs by schedule and phase', async () => {
    const service = new FakeRunService();
    service.add('r1', RunPhase.SUCCEEDED);
    service.add('r2', RunPhase.TIMED_OUT);
    const args = ['--schedule', 'p/d/s', '--phase', 'timed-out', '--filter', 'task = "settle"'];
    const { stdout } = await runCommandLine(['runs', 'list', ...args], service.transport());
    expect(stdout.split('\n')).toEqual([
      'PHASE        RUN     TASK    SCHEDULE  NOMINAL               TRY   TOOK',
      '✓ succeeded  p/d/r1  settle  p/d/s     1970-01-01 00:01:00Z    1  42 ms',
      '⧗ timed out  p/d/r2  settle  p/d/s     1970-01-01 00:01:00Z    1  42 ms',
      '',
    ]);
    expect(service.requests).toMatchObject([
      {
        request: {
          parent: 'projects/-/domains/-',
          filter: 'task = "settle" AND schedule = "projects/p/domains/d/schedules/s" AND phase = "TIMED_OUT"',
        },
      },
    ]);
  });

  it('shows a run with its output, made safe for the terminal', async () => {
    const service = new FakeRunService();
    service.add('r1', RunPhase.FAILED, {
      error: { $typeName: 'carillon.run.v1.RunError', code: 'EXIT_STATUS', message: 'exited with 3' },
      output: {
        $typeName: 'carillon.run.v1.RunPayload',
        contentType: '',
        content: { case: 'values', value: { exitStatus: 3, stdout: 'one\n\u001b]0;title\u0007two\n' } },
      },
    });
    const { stdout } = await runCommandLine(['runs', 'get', 'p/d/r1'], service.transport());
    expect(stdout).toContain('p/d/r1  ✗ failed\n');
    expect(stdout).toMatch(/fired +1970-01-01 00:01:00Z, 4 ms after\n/);
    expect(stdout).toMatch(/error +EXIT_STATUS: exited with 3\n/);
    expect(stdout).toContain('  exitStatus: 3\n  stdout:\n    one\n    \ufffd]0;title\ufffdtwo\n');
  });

  it('asks for an abort with its reason', async () => {
    const service = new FakeRunService();
    service.add('r1', RunPhase.RUNNING);
    const result = await runCommandLine(
      ['runs', 'abort', NAME, '--reason', 'wrong ledger'],
      service.transport(),
    );
    expect(result).toEqual({ exitCode: 0, stdout: 'p/d/r1  running, and was asked to stop\n', stderr: '' });
    expect(service.requests).toMatchObject([{ request: { name: NAME, reason: 'wrong ledger' } }]);
    expect((await runCommandLine(['runs', 'abort', 'p/d/none'], service.transport())).exitCode).toBe(3);
  });
});

describe('runs watch', () => {
  it('follows named runs to their end, across a lost stream, each state once', async () => {
    const service = new FakeRunService();
    const running = service.add('r1', RunPhase.RUNNING, { version: 2n });
    service.scripts.push(
      [
        later(running, 1n, RunPhase.QUEUED),
        'heartbeat',
        running,
        new ConnectError('restarting', Code.Unavailable),
      ],
      [running, later(running, 3n, RunPhase.SUCCEEDED)],
    );
    const result = await runCommandLine(['runs', 'watch', 'p/d/r1'], service.transport());
    expect(result).toMatchObject({ exitCode: 0, stderr: '' });
    expect(result.stdout.match(/queued|running|succeeded/g)).toEqual(['queued', 'running', 'succeeded']);
    expect(service.requests.filter(({ method }) => method === 'watch')).toHaveLength(2);
  });

  it('exits with 1 when one of them did not succeed', async () => {
    const service = new FakeRunService();
    service.scripts.push([service.add('r1', RunPhase.SUCCEEDED), service.add('r2', RunPhase.FAILED)]);
    const result = await runCommandLine(
      ['runs', 'watch', 'p/d/r1', 'p/d/r2', '-o', 'json'],
      service.transport(),
    );
    expect(result).toMatchObject({ exitCode: 1, stderr: 'error: 1 of 2 did not succeed\n' });
    const lines = result.stdout
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(lines).toMatchObject([{ phase: 'RUN_PHASE_SUCCEEDED' }, { phase: 'RUN_PHASE_FAILED' }]);
  });

  it('refuses names that do not exist, instead of waiting for them', async () => {
    const result = await runCommandLine(['runs', 'watch', 'p/d/none'], new FakeRunService().transport());
    expect(result.exitCode).toBe(3);
  });

  it('watches everything until Ctrl-C', async () => {
    const service = new FakeRunService();
    const interrupt = new AbortController();
    service.scripts.push([service.add('r1', RunPhase.SUCCEEDED), new ConnectError('gone', Code.Unavailable)]);
    const running = runCommandLine(
      ['runs', 'watch', '--schedule', 's', '-p', 'p', '-d', 'd'],
      service.transport(),
      {
        interrupted: interrupt.signal,
        stderr: {
          write: () => interrupt.abort('SIGINT'),
          isTerminal: false,
          size: { columns: 80, rows: 24 },
          onResize: () => () => undefined,
        },
      },
    );
    expect(await running).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('✓ succeeded') });
    expect(service.requests).toMatchObject([
      {
        request: { parent: 'projects/p/domains/d', schedule: 'projects/p/domains/d/schedules/s', names: [] },
      },
    ]);
  });

  it('gives up on a refusal that would be repeated', async () => {
    const service = new FakeRunService();
    service.scripts.push([new ConnectError('no', Code.PermissionDenied)]);
    expect((await runCommandLine(['runs', 'watch'], service.transport())).exitCode).toBe(6);
  });
});

describe('runs create', () => {
  it('takes inputs as JSON or text, labels, retries and limits', async () => {
    const service = new FakeRunService();
    const args = [
      '--id',
      'x',
      '--input',
      'command=["/bin/date"]',
      '--input',
      'note=hi there',
      '--inputs',
      '{"a":1}',
    ];
    const more = [
      '--label',
      'team=payments',
      '--attempts',
      '3',
      '--attempt-timeout',
      '90s',
      '-p',
      'p',
      '-d',
      'd',
    ];
    const result = await runCommandLine(['runs', 'create', 'command', ...args, ...more], service.transport());
    expect(result).toEqual({ exitCode: 0, stdout: 'p/d/x  queued\n', stderr: '' });
    expect(service.requests).toMatchObject([
      {
        request: {
          parent: 'projects/p/domains/d',
          runId: 'x',
          spec: {
            task: 'command',
            labels: { team: 'payments' },
            retry: { maxAttempts: 3 },
            attemptTimeout: { seconds: 90n },
            inputs: { content: { value: { a: 1, command: ['/bin/date'], note: 'hi there' } } },
          },
        },
      },
    ]);
  });

  it('waits for the end if told to, and shows it', async () => {
    const service = new FakeRunService();
    service.scripts.push([service.add('x', RunPhase.SUCCEEDED)]);
    const waited = await runCommandLine(['runs', 'create', 't', '--id', 'x', '--wait'], service.transport());
    expect(waited).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('p/d/x  ✓ succeeded') });
    service.scripts.push([service.add('y', RunPhase.FAILED)]);
    const failed = await runCommandLine(['runs', 'create', 't', '--id', 'y', '--wait'], service.transport());
    expect(failed).toMatchObject({ exitCode: 1, stderr: 'error: it failed\n' });
  });

  it.each([
    [['--input', 'x'], 'It is KEY=VALUE'],
    [['--inputs', '[1]'], '--inputs: this is no JSON object'],
    [['--inputs', '@/nowhere.json'], '/nowhere.json cannot be read'],
    [['--attempts', '0'], 'It is a whole number'],
  ])('refuses %j', async (args, message) => {
    const result = await runCommandLine(['runs', 'create', 't', ...args], new FakeRunService().transport());
    expect(result).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) });
  });
});
