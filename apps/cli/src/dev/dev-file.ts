import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A process that `carillon dev` started, told apart from a later one with the same id by its identity. */
export interface DevProcess {
  /** `postgres`, `runs`, `schedules`, `scheduler` or `worker`. */
  readonly name: string;
  readonly pid: number;
  /** See `process-identity.ts`. */
  readonly identity: string;
}

/** What `.carillon/dev.json` holds: what runs, for scripts and for the next start. */
export interface DevState {
  /** The version of this shape. */
  readonly version: 1;
  /** Whether all of it was up when the file was written; false after a clean stop. */
  readonly running: boolean;
  /** The process of `carillon dev` itself. 0 after a clean stop. */
  readonly pid: number;
  /** Base URLs by service. They stay after a stop: the next start prefers the same ports. */
  readonly urls: { readonly schedules: string; readonly scheduler: string; readonly runs: string };
  /** With its password. */
  readonly databaseUrl: string;
  /** The folder that keeps the database of the embedded PostgreSQL; null with a DATABASE_URL. */
  readonly dataDirectory: string | null;
  /** The folder with one log file per process. */
  readonly logDirectory: string;
  /** Everything that was started, in that order. Empty after a clean stop. */
  readonly processes: readonly DevProcess[];
}

/** The folder of a checkout in which `carillon dev` keeps what it needs. */
export const DEV_FOLDER = '.carillon';

/** The path of the file in the folder that `carillon dev` keeps its state in. */
export function devFilePath(folder: string): string {
  return join(folder, 'dev.json');
}

/** Reads the file. Undefined if there is none, or if it is none of ours (another version, cut off). */
export async function readDevState(path: string): Promise<DevState | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return parseDevState(text);
}

/** Writes the file at once and whole, readable by its owner only: it holds the database's password. */
export async function writeDevState(path: string, state: DevState): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(state, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}

/** The nearest `dev.json` in the folder or above it, with its path. Unreadable folders count as without one. */
export async function findDevState(folder: string): Promise<{ path: string; state: DevState } | undefined> {
  for (let at = folder; ; at = dirname(at)) {
    const path = devFilePath(join(at, DEV_FOLDER));
    const state = await readDevState(path).catch((error: unknown) => {
      if (isDenied(error)) return undefined;
      throw error;
    });
    if (state !== undefined) return { path, state };
    if (at === dirname(at)) return undefined;
  }
}

function parseDevState(text: string): DevState | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return isDevState(json) ? json : undefined;
}

function isDevState(json: unknown): json is DevState {
  if (!isRecord(json) || json.version !== 1 || !isRecord(json.urls)) return false;
  const { urls, processes } = json;
  return (
    ['schedules', 'scheduler', 'runs'].every((name) => typeof urls[name] === 'string') &&
    typeof json.running === 'boolean' &&
    typeof json.pid === 'number' &&
    typeof json.databaseUrl === 'string' &&
    typeof json.logDirectory === 'string' &&
    Array.isArray(processes) &&
    processes.every(
      (entry) =>
        isRecord(entry) &&
        typeof entry.name === 'string' &&
        Number.isSafeInteger(entry.pid) &&
        typeof entry.identity === 'string',
    )
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'EACCES' || error.code === 'EPERM');
}
