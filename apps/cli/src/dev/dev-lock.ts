import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError, ExitCode } from '../exit-code.ts';
import { processIdentity } from './process-identity.ts';

interface Holder {
  readonly pid: number;
  readonly identity: string;
}

/**
 * Keeps a second `carillon dev` out of a checkout. The lock of a process that is no more does not count.
 * @throws CliError when a living one holds it.
 */
export async function acquireDevLock(path: string, pid: number): Promise<{ release(): Promise<void> }> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const identity = await processIdentity(pid);
  if (identity === undefined) throw new Error(`process ${pid} cannot be told from others on this system`);
  const mine = `${path}.${pid}`;
  await writeFile(mine, JSON.stringify({ pid, identity } satisfies Holder), { mode: 0o600 });
  try {
    while (!(await linked(mine, path))) await removeStale(path, `${mine}.stale`);
  } finally {
    await rm(mine, { force: true });
  }
  return { release: () => rm(path, { force: true }) };
}

/** Takes the lock, in one step that succeeds for one process only. */
async function linked(mine: string, path: string): Promise<boolean> {
  try {
    await link(mine, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(path: string, aside: string): Promise<void> {
  const holder = await readHolder(path);
  if (holder !== undefined) await refuseIfAlive(holder);
  try {
    await rename(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  // Between the look and the rename another start may have taken the lock: then it is theirs, and goes back.
  const moved = await readHolder(aside);
  if (moved !== undefined && (await isAlive(moved))) await linked(aside, path);
  await rm(aside, { force: true });
  if (moved !== undefined) await refuseIfAlive(moved);
}

async function refuseIfAlive(holder: Holder): Promise<void> {
  if (!(await isAlive(holder))) return;
  throw new CliError(
    ExitCode.conflict,
    `"carillon dev" runs in this checkout already (process ${holder.pid})`,
    ['Use that one, or stop it first. ".carillon/dev.json" says where it listens.'],
  );
}

async function isAlive({ pid, identity }: Holder): Promise<boolean> {
  return (await processIdentity(pid)) === identity;
}

/** Undefined when there is no lock, or it is not one: cut off by a power loss. */
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
