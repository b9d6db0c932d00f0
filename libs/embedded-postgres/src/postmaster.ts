import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Clock, sleep } from '@carillon/core/clock.ts';

/** How a server came to its end. */
export interface PostmasterExit {
  /** Exit code, or null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The data directory is served by a server whose launcher lives: another `carillon dev` in this checkout. */
export class PostgresInUseError extends Error {
  /** Process id of the launcher. */
  readonly launcherPid: number;

  constructor(data: string, launcherPid: number) {
    super(`PostgreSQL in ${data} is in use by process ${launcherPid}: stop that one first`);
    this.name = 'PostgresInUseError';
    this.launcherPid = launcherPid;
  }
}

/** What a server notes about itself in `postmaster.pid`. */
export interface PidFile {
  readonly pid: number;
  readonly data: string;
  readonly ready: boolean;
}

/** Shutdown signals in rising order of force, each with the time it gets: fast, immediate, kill. */
const STOP_STEPS: readonly { readonly signal: NodeJS.Signals; readonly limitMs: number }[] = [
  { signal: 'SIGINT', limitMs: 10_000 },
  { signal: 'SIGQUIT', limitMs: 5_000 },
  { signal: 'SIGKILL', limitMs: 5_000 },
];

const POLL_MS = 20;
const EMPTY_LOCK_MS = 1_000;

/** The setting that names a server after its launcher, so that a later start can tell an orphan from one in use. */
export function clusterName(): string {
  return `cluster_name=carillon-${process.pid}`;
}

/** Reads `postmaster.pid`; undefined when there is none, or it is still being written. */
export async function readPidFile(data: string): Promise<PidFile | undefined> {
  const lines = ((await readLock(data)) ?? '').split('\n');
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0 || lines[1] === undefined) return undefined;
  return { pid, data: lines[1], ready: lines[7]?.trim() === 'ready' };
}

/**
 * Makes way for a new server in `data`: stops one whose launcher was killed, and removes the lock of a dead one
 * when its process id went to a stranger, which PostgreSQL by itself would take for a running server.
 * @throws PostgresInUseError when the launcher of the running server lives.
 */
export async function makeWay(data: string, clock: Clock, log: (line: string) => void): Promise<void> {
  const lock = await readPidFile(data);
  if (!lock) return removeEmptyLock(data, clock);
  const running = await describe(lock);
  if (!running) {
    if (isAlive(lock.pid)) await rm(lockPath(data), { force: true });
    return;
  }
  if (running.launcherPid !== undefined && running.launcherPid === running.parentPid) {
    throw new PostgresInUseError(data, running.launcherPid);
  }
  log(`stopping PostgreSQL (process ${lock.pid}) that an earlier start left running`);
  await stopProcess(lock.pid, async () => (await describe(lock)) === undefined, clock);
}

async function readLock(data: string): Promise<string | undefined> {
  try {
    return await readFile(lockPath(data), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A crash can leave the lock empty, which PostgreSQL refuses for good; one that is being written fills at once. */
async function removeEmptyLock(data: string, clock: Clock): Promise<void> {
  if ((await readLock(data)) !== '') return;
  await sleep(clock, EMPTY_LOCK_MS);
  if ((await readLock(data)) === '') await rm(lockPath(data), { force: true });
}

function lockPath(data: string): string {
  return join(data, 'postmaster.pid');
}

/** Sends the shutdown signals, from polite to rude, until `gone` says yes. */
export async function stopProcess(pid: number, gone: () => Promise<boolean>, clock: Clock): Promise<void> {
  for (const step of STOP_STEPS) {
    if (await gone()) return;
    signal(pid, step.signal);
    const deadline = clock.monotonic() + step.limitMs;
    while (clock.monotonic() < deadline) {
      if (await gone()) return;
      await sleep(clock, POLL_MS);
    }
  }
  if (!(await gone())) throw new Error(`PostgreSQL (process ${pid}) survives SIGKILL`);
}

interface Running {
  readonly parentPid: number;
  readonly launcherPid: number | undefined;
}

/** The living server behind a lock; undefined when it is dead, a zombie, or the process id is a stranger's. */
async function describe(lock: PidFile): Promise<Running | undefined> {
  const found = process.platform === 'linux' ? await fromProc(lock.pid) : await fromPs(lock.pid);
  if (!found?.command.includes(`-D ${lock.data} `)) return undefined;
  const launcher = /cluster_name=carillon-(\d+)/.exec(found.command)?.[1];
  return { parentPid: found.parentPid, launcherPid: launcher === undefined ? undefined : Number(launcher) };
}

interface ProcessLine {
  readonly parentPid: number;
  readonly command: string;
}

async function fromProc(pid: number): Promise<ProcessLine | undefined> {
  try {
    const [status, commandLine] = await Promise.all([
      readFile(`/proc/${pid}/status`, 'utf8'),
      readFile(`/proc/${pid}/cmdline`, 'utf8'),
    ]);
    const parent = /^PPid:\s*(\d+)/m.exec(status)?.[1];
    if (parent === undefined) return undefined;
    return { parentPid: Number(parent), command: commandLine.replaceAll('\0', ' ') };
  } catch {
    // The process is gone: that is the answer.
    return undefined;
  }
}

async function fromPs(pid: number): Promise<ProcessLine | undefined> {
  try {
    const { stdout } = await promisify(execFile)('ps', [
      '-ww',
      '-o',
      'ppid=',
      '-o',
      'command=',
      '-p',
      String(pid),
    ]);
    const [, parent, command] = /^\s*(\d+)\s+(.*)$/m.exec(stdout) ?? [];
    if (parent === undefined || command === undefined) return undefined;
    return { parentPid: Number(parent), command: `${command} ` };
  } catch {
    // ps fails when there is no such process: that is the answer.
    return undefined;
  }
}

/** Whether a process of this id exists, ours to signal or not, zombies included. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It may have ended in between.
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return;
    throw error;
  }
}
