import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { BUGS } from './bugs.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
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

describe.concurrent('the simulation', () => {
  test.each(BUGS)(
    'catches a scheduler with the bug $name',
    { timeout: 300_000 },
    async ({ name, witness }) => {
      const [caught, clean] = await Promise.all([
        simulate('--bug', name, '--replay', witness),
        simulate('--replay', witness),
      ]);
      expect(caught.output).toMatch(/"failures":1/);
      expect(caught.code).toBe(1);
      // It is the bug that is wrong with it.
      expect(clean.output).toContain('nothing is wrong with this history');
    },
  );
});
