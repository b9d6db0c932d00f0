import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { BUGS } from './bugs.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** Within this many histories each bug must show. */
const HISTORIES = 3_000;

/** Lives histories with a bug, in a process of its own, until one fails. Resolves to what it prints. */
function liveWith(bug: string): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const args = [
      MAIN,
      '--bug',
      bug,
      '--histories',
      String(HISTORIES),
      '--failures',
      '1',
      '--seed',
      'bug',
      '--threads',
      '1',
    ];
    execFile(process.execPath, args, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: `${stdout}${stderr}` });
    });
  });
}

test.each(BUGS)('a scheduler with the bug $name is caught', { timeout: 300_000 }, async ({ name }) => {
  const { code, output } = await liveWith(name);
  expect(output).toMatch(/"failures":[1-9]/);
  expect(output).toContain('--replay bug-');
  expect(code).toBe(1);
});
