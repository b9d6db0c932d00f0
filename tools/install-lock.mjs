// Keeps two installations out of one checkout: `npm ci` begins by deleting what the other one writes. Works with Node 20
// and without any package, which is why it is not the lock of `carillon dev` (apps/cli/src/dev/dev-lock.ts).
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 200;
const NAME = /^install-lock\.(\d+)$/;

/**
 * Does the work while nobody else who asks with this folder does theirs. `onWait` is told the id of the process that is waited
 * for. The lock of a process that is no more does not count.
 *
 * Locks are numbered files, and the highest one is the lock. Nobody ever removes the highest, so two that find it stale both try to
 * make the same next one, and the file system lets one of them.
 */
export async function withInstallLock(folder, work, onWait = () => undefined) {
  mkdirSync(folder, { recursive: true });
  const mine = await acquire(folder, onWait);
  try {
    return await work();
  } finally {
    putInPlace(folder, mine, '{}', renameSync);
  }
}

async function acquire(folder, onWait) {
  const holder = JSON.stringify({ pid: process.pid, identity: identityOf(process.pid) });
  let waitedFor;
  for (;;) {
    const highest = Math.max(0, ...lockNumbers(folder));
    const pid = livingHolder(folder, highest);
    if (pid !== undefined) {
      if (pid !== waitedFor) onWait(pid);
      waitedFor = pid;
      await delay(POLL_MS);
      continue;
    }
    const number = highest + 1;
    if (!putInPlace(folder, number, holder, linkSync)) continue;
    const present = lockNumbers(folder);
    if (Math.max(...present) > number) {
      // While we looked, two others came and went, and the second one removed what stood in our way.
      rmSync(pathOf(folder, number), { force: true });
      continue;
    }
    for (const older of present) if (older < number) rmSync(pathOf(folder, older), { force: true });
    return number;
  }
}

function lockNumbers(folder) {
  return readdirSync(folder)
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number);
}

function pathOf(folder, number) {
  return join(folder, `install-lock.${number}`);
}

/** Writes a lock in one step; false if that step finds one there. */
function putInPlace(folder, number, text, step) {
  const draft = join(folder, `.install-lock.${randomUUID()}`);
  writeFileSync(draft, text);
  try {
    step(draft, pathOf(folder, number));
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** The id of the process that holds the lock; undefined when it was released, or its holder is no more. */
function livingHolder(folder, number) {
  if (number === 0) return undefined;
  let holder;
  try {
    holder = JSON.parse(readFileSync(pathOf(folder, number), 'utf8'));
  } catch (error) {
    // Removed by a later holder; or cut off by a power loss.
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
  const { pid, identity } = holder;
  return identity && identityOf(pid) === identity ? pid : undefined;
}

/** Tells a process from others that had or will have its id: on Linux by the tick it was started in, elsewhere by the second. */
function identityOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in brackets, and may hold blanks and brackets itself.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).stdout?.trim() ?? '';
  }
}
