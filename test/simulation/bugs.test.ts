import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { BUGS } from './bugs.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** Within this many histories each bug must show. */
const HISTORIES = 3_000;
/** Of a story that is told, in bytes. */
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Runs the command in a process of its own. Resolves to what it prints. */
function simulate(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { maxBuffer: MAX_OUTPUT }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: `${stdout}${stderr}` });
    });
  });
}

test.each(BUGS)('a scheduler with the bug $name is caught', { timeout: 900_000 }, async ({ name }) => {
  const limits = ['--histories', String(HISTORIES), '--failures', '1', '--threads', '1', '--seed', 'bug'];
  const { code, output } = await simulate('--bug', name, ...limits);
  expect(output).toMatch(/"failures":[1-9]/);
  expect(code).toBe(1);
  const [, seed] = /--replay (bug-\d+)/.exec(output) ?? [];
  if (seed === undefined) throw new Error(`no failing history is named: ${output}`);
  // It is the bug that is wrong with it.
  expect((await simulate('--replay', seed)).output).toContain('nothing is wrong with this history');
});
