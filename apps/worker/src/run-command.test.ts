import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@carillon/server';
import { StopError } from '@carillon/worker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from './run-command.ts';
import { attemptOf, failureOf, outputOf, valuesOf } from './run-under-test.ts';

const NODE = process.execPath;
const handler = runCommand({ allowed: [NODE, '/bin/echo', '/nowhere/at-all'], clock: systemClock });
const script = (code: string): string[] => [NODE, '-e', code];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-worker-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe('the task command', () => {
  test('keeps the exit status and what was written to both outputs', async () => {
    expect(await outputOf(handler, { command: ['/bin/echo', 'one', '$HOME; two'] })).toEqual({
      exitStatus: 0,
      output: 'one $HOME; two\n',
      omittedBytes: 0,
    });
    expect((await outputOf(handler, { command: script('console.error("ä")') })).output).toBe('ä\n');
  });

  test('fails with another status, and keeps its words', async () => {
    const failure = await failureOf(
      handler(attemptOf({ command: script('console.log("no"); process.exit(3)') })),
    );
    expect(failure).toMatchObject({ code: 'EXIT_STATUS', permanent: false });
    expect(failure.message).toContain('exited with status 3');
    expect(valuesOf(failure)).toEqual({ exitStatus: 3, output: 'no\n', omittedBytes: 0 });
  });

  test('keeps the last 8 KiB of much', async () => {
    const output = await outputOf(handler, {
      command: script('process.stdout.write("x".repeat(1_000_000) + "end")'),
    });
    expect(output.omittedBytes).toBe(1_000_003 - 8_192);
    expect(String(output.output)).toHaveLength(8_192);
    expect(String(output.output).endsWith('xend')).toBe(true);
  });

  test('gives the program its inputs, and nothing of the worker', async () => {
    process.env.WORKER_SECRET = 'hidden';
    const { output } = await outputOf(handler, {
      command: script('console.log(JSON.stringify(process.env))'),
      env: { TASK_MODE: 'fast' },
      slot: '2026-11-01T00:00:00Z',
      'day-count': 3,
    });
    expect(JSON.parse(String(output))).toEqual({
      PATH: '/usr/local/bin:/usr/bin:/bin',
      LANG: 'C.UTF-8',
      CARILLON_RUN: 'projects/p/domains/d/runs/r',
      CARILLON_ATTEMPT: '2',
      CARILLON_INPUT_SLOT: '2026-11-01T00:00:00Z',
      CARILLON_INPUT_DAY_COUNT: '3',
      TASK_MODE: 'fast',
    });
  });

  test.each([
    ['a program that is not allowed', { command: ['/bin/rm', '-rf', '/'] }, 'COMMAND_NOT_ALLOWED'],
    ['a program by another path', { command: ['/bin/../bin/echo'] }, 'COMMAND_NOT_ALLOWED'],
    ['a relative program', { command: ['echo'] }, 'INVALID_INPUT'],
    ['a command line', { command: '/bin/echo hello' }, 'INVALID_INPUT'],
    ['no command', {}, 'INVALID_INPUT'],
    ['an empty command', { command: [] }, 'INVALID_INPUT'],
    ['arguments that are no texts', { command: ['/bin/echo', 1] }, 'INVALID_INPUT'],
    ['NUL', { command: ['/bin/echo', 'a\0b'] }, 'INVALID_INPUT'],
    [
      'a variable that changes programs',
      { command: ['/bin/echo'], env: { LD_PRELOAD: '/x' } },
      'INVALID_INPUT',
    ],
    ['a variable that is no text', { command: ['/bin/echo'], env: { TASK_A: 1 } }, 'INVALID_INPUT'],
    ['a program that is not there', { command: ['/nowhere/at-all'] }, 'COMMAND_NOT_STARTED'],
  ])('refuses %s for good', async (_, values, code) => {
    expect(await failureOf(handler(attemptOf(values)))).toMatchObject({ code, permanent: true });
  });

  test('refuses an allow-list with a name that is searched for', () => {
    expect(() => runCommand({ allowed: ['echo'], clock: systemClock })).toThrow(RangeError);
  });

  test('ends what was started when the attempt shall end, with all that it has started itself', async () => {
    const stop = new AbortController();
    const file = join(folder, 'child');
    const code = `
      const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(file)}, String(child.pid));
      process.stdout.write('started');
      setInterval(() => {}, 1000);`;
    const running = failureOf(handler(attemptOf({ command: script(code) }, stop.signal)));
    await expect.poll(() => readFile(file, 'utf8').catch(() => ''), { timeout: 10_000 }).not.toBe('');
    const pid = Number(await readFile(file, 'utf8'));
    stop.abort(new StopError('ABORTED'));
    const failure = await running;
    expect(failure.message).toContain('was ended by SIGTERM');
    expect(valuesOf(failure)).toMatchObject({ signal: 'SIGTERM', output: 'started' });
    await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
  });

  test('does not wait for what a program has left running', async () => {
    const file = join(folder, 'left');
    const code = `
      const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
      require('node:fs').writeFileSync(${JSON.stringify(file)}, String(child.pid));
      child.unref();
      process.exit(0);`;
    expect(await outputOf(handler, { command: script(code) })).toMatchObject({ exitStatus: 0 });
    const pid = Number(await readFile(file, 'utf8'));
    await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
  });

  test('kills what does not listen', async () => {
    const stop = new AbortController();
    const early = {
      ...systemClock,
      after: (delayMs: number, callback: () => void) => systemClock.after(Math.min(delayMs, 100), callback),
    };
    const impatient = runCommand({ allowed: [NODE], clock: early });
    const file = join(folder, 'deaf');
    const code = `process.on('SIGTERM', () => {}); require('node:fs').writeFileSync(${JSON.stringify(file)}, 'x'); setInterval(() => {}, 1000);`;
    const running = failureOf(impatient(attemptOf({ command: script(code) }, stop.signal)));
    await expect.poll(() => readFile(file, 'utf8').catch(() => ''), { timeout: 10_000 }).toBe('x');
    stop.abort(new StopError('ABORTED'));
    expect(valuesOf(await running)).toMatchObject({ signal: 'SIGKILL' });
  });

  test('starts nothing when the attempt has ended already', async () => {
    const stop = AbortSignal.abort(new StopError('LEASE_LOST'));
    await expect(handler(attemptOf({ command: ['/bin/echo'] }, stop))).rejects.toBeInstanceOf(StopError);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
