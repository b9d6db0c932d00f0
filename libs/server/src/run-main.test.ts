import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import type { LogLine } from './server-under-test.ts';

const PRELUDE = `
import { createLogger, readConfig, runMain, secret, systemClock, text } from '@carillon/server';
const logger = createLogger({ service: 's', instance: 'i', level: 'debug' });
const run = (start) => runMain({ process, clock: systemClock, logger, start });
const keepAlive = setInterval(() => undefined, 1_000);
`;

interface Main extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly lines: LogLine[];
  ended(): Promise<number | null>;
  line(msg: string): Promise<LogLine>;
}

/** A real process that runs the given script. */
function main(script: string): Main {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', PRELUDE + script], {
    cwd: new URL('..', import.meta.url).pathname,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: LogLine[] = [];
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.push(JSON.parse(part) as LogLine);
    child.emit('line');
  });
  const exit = once(child, 'close') as Promise<[number | null]>;
  return {
    child,
    lines,
    ended: async () => (await exit)[0],
    line: async (msg) => {
      for (;;) {
        const found = lines.find((line) => line.msg === msg);
        if (found !== undefined) return found;
        await once(child, 'line');
      }
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}

test.each(['SIGTERM', 'SIGINT'] as const)('%s runs the phases and exits with 0', async (signal) => {
  await using target = main(`
    await run(async (shutdown) => {
      shutdown.phase('close', 1_000, () => logger.info('closed'));
      logger.info('started');
    });`);
  await target.line('started');
  target.child.kill(signal);
  expect(await target.ended()).toBe(0);
  expect(target.lines.map(({ msg }) => msg)).toContain('closed');
});

test('a second signal exits at once with 1', async () => {
  await using target = main(`
    await run(async (shutdown) => {
      shutdown.phase('hang', 60_000, () => { logger.info('hanging'); return new Promise(() => undefined); });
      logger.info('started');
    });`);
  await target.line('started');
  target.child.kill('SIGTERM');
  await target.line('hanging');
  target.child.kill('SIGTERM');
  expect(await target.ended()).toBe(1);
});

test('a phase that fails makes the exit 1', async () => {
  await using target = main(`
    await run(async (shutdown) => {
      shutdown.phase('bad', 1_000, () => { throw new Error('broken'); });
      logger.info('started');
    });`);
  await target.line('started');
  target.child.kill('SIGTERM');
  expect(await target.ended()).toBe(1);
});

test.each([
  ['an unhandled rejection', 'unhandled rejection', 'Promise.reject(new Error("boom"))'],
  ['an uncaught exception', 'uncaught exception', 'setImmediate(() => { throw new Error("boom"); })'],
])('%s is logged, shuts down and exits with 1', async (_what, msg, provoke) => {
  await using target = main(`
    await run(async (shutdown) => { shutdown.phase('close', 1_000, () => logger.info('closed')); });
    ${provoke};`);
  expect(await target.ended()).toBe(1);
  expect(await target.line(msg)).toMatchObject({ level: 'fatal', err: { message: 'boom' } });
  expect(target.lines.map((line) => line.msg)).toContain('closed');
});

test('a failed start closes what was open, and exits with 1', async () => {
  await using target = main(`
    await run(async (shutdown) => {
      shutdown.phase('close', 1_000, () => logger.info('closed'));
      throw new Error('port taken');
    });`);
  expect(await target.ended()).toBe(1);
  expect(await target.line('start failed')).toMatchObject({ err: { message: 'port taken' } });
  expect(target.lines.map(({ msg }) => msg)).toContain('closed');
});

test('a signal during the start ends it, with 0', async () => {
  await using target = main(`
    await run(async (shutdown) => {
      shutdown.phase('close', 1_000, () => logger.info('closed'));
      logger.info('starting');
      await new Promise((_, reject) => shutdown.signal.addEventListener('abort', () => reject(shutdown.signal.reason)));
    });`);
  await target.line('starting');
  target.child.kill('SIGTERM');
  expect(await target.ended()).toBe(0);
  expect(target.lines.filter(({ level }) => level === 'fatal')).toEqual([]);
});

test('an unusable configuration names every fault and no secret', async () => {
  await using target = main(`
    await run(async () => {
      readConfig({ B: '' }, { a: text('A', { description: 'One.' }), b: secret('B', { description: 'Two.' }) });
    });`);
  expect(await target.ended()).toBe(1);
  expect(await target.line('configuration is not usable')).toMatchObject({
    faults: ['A is required: One.', 'B is required: Two.'],
  });
});
