import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { withInstallLock } from './install-lock.mjs';

let folder;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'carillon-install-lock-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A process that takes the lock, says so, and keeps it. */
async function holder() {
  const source = `
    import { withInstallLock } from ${JSON.stringify(new URL('./install-lock.mjs', import.meta.url).href)};
    await withInstallLock(${JSON.stringify(folder)}, () => new Promise(() => {
      console.log('held');
      setInterval(() => undefined, 1000);
    }));`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}

test('one at a time, however many ask', async () => {
  let [now, most, done] = [0, 0, 0];
  const work = async () => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setImmediate(resolve));
    now--;
    done++;
  };
  await Promise.all(Array.from({ length: 8 }, () => withInstallLock(folder, work)));
  expect({ most, done }).toEqual({ most: 1, done: 8 });
  expect(await readdir(folder)).toHaveLength(1);
});

test('waits for a living process, and says for which; its death frees the lock', async () => {
  const other = await holder();
  const waitedFor = [];
  const done = withInstallLock(
    folder,
    () => 'done',
    (pid) => {
      waitedFor.push(pid);
      other.kill('SIGKILL');
    },
  );
  expect(await done).toBe('done');
  expect(waitedFor).toEqual([other.pid]);
});

test.each([
  ['of a process that has the id of one that is gone', JSON.stringify({ pid: process.pid, identity: '1' })],
  ['that was cut off', '{"pid": 1'],
])('does not wait for a lock %s', async (_, text) => {
  await writeFile(join(folder, 'install-lock.7'), text);
  const waited = [];
  await withInstallLock(
    folder,
    () => undefined,
    (pid) => waited.push(pid),
  );
  expect(waited).toEqual([]);
});

test('is released when the work fails', async () => {
  const failed = withInstallLock(folder, () => {
    throw new Error('npm ci failed');
  });
  await expect(failed).rejects.toThrow('npm ci failed');
  expect(await withInstallLock(folder, () => 'next')).toBe('next');
});
