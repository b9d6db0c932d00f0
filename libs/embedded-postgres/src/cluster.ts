import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Binaries, LASTING_FOLDERS, LASTING_NAME } from './binaries.ts';
import { isAlive } from './postmaster.ts';
import { isRoot, type RunAs, run, unprivilegedUser } from './run-as.ts';

/** A database cluster on disk, with what is needed to run it and to log in. */
export interface Cluster {
  /** The folder that holds `data`, `password` and `postgres.log`; it belongs to PostgreSQL's user. */
  readonly dir: string;
  /** PostgreSQL's own data directory. */
  readonly data: string;
  readonly password: string;
  readonly runAs: RunAs;
}

/** The role that owns the cluster. */
export const ROLE = 'carillon';

/** The database made for it. */
export const DATABASE = 'carillon';

/**
 * Finds the cluster that belongs to `wanted`, at that path or, when only root could reach it there, in a lasting
 * folder under a name derived from the path.
 */
export async function findCluster(wanted: string, log: (line: string) => void): Promise<Cluster | undefined> {
  for (const dir of candidates(wanted)) {
    if (!existsSync(dir)) continue;
    const runAs = await ownerOf(dir);
    if (!existsSync(join(dir, 'data', 'PG_VERSION'))) continue;
    const entered = await run(runAs, '/bin/sh', ['-c', 'cd "$1"', 'sh', join(dir, 'data')]);
    if (entered.code === 0) {
      return { dir, data: join(dir, 'data'), password: await readFile(join(dir, 'password'), 'utf8'), runAs };
    }
    log(
      `the data in ${dir} is out of reach for PostgreSQL's user and is left alone: ${entered.output.trim()}`,
    );
  }
  return undefined;
}

/** Makes the cluster of `wanted` in the first folder that PostgreSQL's user can reach and own. */
export async function createCluster(
  wanted: string,
  runAs: RunAs,
  binaries: Binaries,
  durable: boolean,
  log: (line: string) => void,
): Promise<Cluster> {
  const reasons: string[] = [];
  for (const dir of candidates(wanted)) {
    if (existsSync(dir) && (await readdir(dir)).length > 0) {
      if (!existsSync(join(dir, 'data', 'PG_VERSION'))) throw new Error(`${dir} holds other things`);
      reasons.push(`the data in ${dir} is out of reach`);
      continue;
    }
    const fresh = `${dir}-${process.pid}`;
    const refused = await claim(fresh, runAs);
    if (refused !== undefined) {
      reasons.push(refused);
      continue;
    }
    if (dir !== wanted) log(`data goes to ${dir}, because PostgreSQL's user cannot reach ${wanted}`);
    try {
      return await initialise(fresh, dir, binaries, durable, runAs);
    } catch (error) {
      await rm(fresh, { recursive: true, force: true });
      throw error;
    }
  }
  throw new Error(`there is no folder for PostgreSQL's data: ${reasons.join('; ')}`);
}

/** The folders in which the cluster of `wanted` may stand. */
function candidates(wanted: string): string[] {
  if (!isRoot()) return [wanted];
  const hash = createHash('sha256').update(wanted).digest('hex').slice(0, 16);
  return [wanted, ...LASTING_FOLDERS.filter(existsSync).map((folder) => join(folder, LASTING_NAME, hash))];
}

/** Root runs a cluster as whoever owns it, so that `sudo npm start` in a user's checkout opens the user's data. */
async function ownerOf(dir: string): Promise<RunAs> {
  const { uid, gid } = await stat(dir);
  if (isRoot()) return uid === 0 ? unprivilegedUser() : { identity: { uid, gid } };
  if (uid !== process.getuid?.()) {
    throw new Error(`${dir} belongs to user ${uid}: start as that user or as root, or remove the folder`);
  }
  return { identity: undefined };
}

/** Makes `fresh` PostgreSQL's own; answers why not when its user cannot work there. */
async function claim(fresh: string, runAs: RunAs): Promise<string | undefined> {
  try {
    const parent = dirname(fresh);
    await mkdir(parent, { recursive: true });
    if (basename(parent) === LASTING_NAME) await chmod(parent, 0o755);
    await sweep(parent, basename(fresh).replace(/\d+$/, ''));
    await mkdir(fresh, { mode: 0o700 });
    if (runAs.identity) await chown(fresh, runAs.identity.uid, runAs.identity.gid);
    // Tried by the user itself: modes alone do not tell of ACLs, mounts and squashed owners.
    const tried = await run(runAs, '/bin/sh', ['-c', 'cd "$1" && : >trial && rm trial', 'sh', fresh]);
    if (tried.code === 0) return undefined;
    await rm(fresh, { recursive: true, force: true });
    return tried.output.trim();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Removes what starts that were killed during initdb left behind. */
async function sweep(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix) || !/^\d+$/.test(name.slice(prefix.length))) continue;
    const pid = Number(name.slice(prefix.length));
    if (pid === process.pid || !isAlive(pid)) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
}

async function initialise(
  fresh: string,
  dir: string,
  binaries: Binaries,
  durable: boolean,
  runAs: RunAs,
): Promise<Cluster> {
  // A secret, so it comes from the system and not from an Entropy that a caller could seed.
  const password = randomBytes(24).toString('base64url');
  const passwordFile = join(fresh, 'password');
  await writeFile(passwordFile, password, { mode: 0o600, flag: 'wx' });
  if (runAs.identity) await chown(passwordFile, runAs.identity.uid, runAs.identity.gid);

  const made = await run(runAs, binaries.initdb, [
    `--pgdata=${join(fresh, 'data')}`,
    `--username=${ROLE}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
    ...(durable ? [] : ['--no-sync']),
  ]);
  if (made.code !== 0) throw new Error(`initdb failed with code ${made.code}:\n${made.output.trim()}`);

  try {
    // In one step, so that a folder of this name is always whole.
    await rename(fresh, dir);
    return { dir, data: join(dir, 'data'), password, runAs };
  } catch (error) {
    // Two first starts at once: the faster one's cluster is as good.
    if (!existsSync(join(dir, 'data', 'PG_VERSION'))) throw error;
    await rm(fresh, { recursive: true, force: true });
    return { dir, data: join(dir, 'data'), password: await readFile(join(dir, 'password'), 'utf8'), runAs };
  }
}
