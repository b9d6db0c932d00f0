import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CHECKOUT } from './dev-stack.ts';

/** The last commit of schema version 6: one shard, and watermarks of format 1. */
const COMMIT = 'e9ad379b3b0748d8f31b9ca1602b0c707ad67ff6';

/** Why an old version cannot be had here; undefined when it can. */
export function oldVersionMissing(): string | undefined {
  try {
    execFileSync('git', ['-C', CHECKOUT, 'cat-file', '-e', `${COMMIT}^{commit}`], { stdio: 'pipe' });
    return undefined;
  } catch {
    return `commit ${COMMIT} is not in this clone: fetch all of its history`;
  }
}

/** The folder of an old version of this repository with its packages installed. Made at the first call, and kept. */
export async function oldVersion(): Promise<string> {
  const folder = join(tmpdir(), `carillon-${COMMIT.slice(0, 12)}`);
  if (existsSync(folder)) return folder;
  const fresh = `${folder}-${process.pid}`;
  const archive = `${fresh}.tar`;
  const run = promisify(execFile);
  try {
    await mkdir(fresh);
    await run('git', ['-C', CHECKOUT, 'archive', '--output', archive, COMMIT]);
    await run('tar', ['-C', fresh, '-xf', archive]);
    await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: fresh });
    // Renamed when complete, so that one that was cut off is never taken for a whole one.
    await rename(fresh, folder);
  } finally {
    await rm(archive, { force: true });
    await rm(fresh, { recursive: true, force: true });
  }
  return folder;
}
