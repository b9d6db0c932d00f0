import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CliError, ExitCode } from '../exit-code.ts';
import { processIdentity } from './process-identity.ts';

interface Holder {
  readonly pid: number;
  readonly identity: string;
}

/**
 * Keeps a second `carillon dev` out of a folder. The lock of a process that is no more does not count.
 *
 * Locks are numbered files `PATH.N`, and the highest one is the lock. Nobody ever removes the highest, so two that find
 * it stale both try to make the same next one, and the file system lets one of them.
 * @throws CliError when a living process holds it.
 */
export async function acquireDevLock(path: string, pid: number): Promise<{ release(): Promise<void> }> {
  await mkdir(dirname(path), { recursive: true });
  const identity = await processIdentity(pid);
  if (identity === undefined) throw new Error(`process ${pid} cannot be told from others on this system`);
  const mine = JSON.stringify({ pid, identity } satisfies Holder);
  for (;;) {
    const highest = Math.max(0, ...(await lockNumbers(path)));
    if (highest > 0) await refuseIfAlive(`${path}.${highest}`);
    const number = highest + 1;
    if (!(await writeWhole(`${path}.${number}`, mine, link))) continue;
    const present = await lockNumbers(path);
    if (Math.max(...present) > number) {
      // While we looked, two others came and went, and the second one removed what stood in our way.
      await rm(`${path}.${number}`, { force: true });
      continue;
    }
    for (const older of present) if (older < number) await rm(`${path}.${older}`, { force: true });
    return {
      release: async () => {
        await writeWhole(`${path}.${number}`, '{}', rename);
      },
    };
  }
}

/** The numbers of the locks that exist. */
async function lockNumbers(path: string): Promise<number[]> {
  const prefix = `${basename(path)}.`;
  return (await readdir(dirname(path)))
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)));
}

/** Puts a file in place in one step; false if that step finds one there. */
async function writeWhole(path: string, text: string, step: typeof link): Promise<boolean> {
  const draft = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  await writeFile(draft, text, { mode: 0o600 });
  try {
    await step(draft, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

async function refuseIfAlive(path: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder === undefined || (await processIdentity(holder.pid)) !== holder.identity) return;
  throw new CliError(ExitCode.conflict, `"carillon dev" runs here already (process ${holder.pid})`, [
    `Use that one, or stop it first. ${join(dirname(path), 'dev.json')} says where it listens.`,
  ]);
}

/** Undefined when it was released, cut off by a power loss, or removed meanwhile. */
async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const json: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof json !== 'object' || json === null || !('pid' in json) || !('identity' in json))
      return undefined;
    const { pid, identity } = json;
    return typeof pid === 'number' && typeof identity === 'string' ? { pid, identity } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
