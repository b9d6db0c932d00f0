import { execFileSync, type SpawnOptions, spawn } from 'node:child_process';

/** The operating-system user that PostgreSQL runs as. */
export interface RunAs {
  /** User and group to switch to, or undefined to stay who we are. */
  readonly identity: { readonly uid: number; readonly gid: number } | undefined;
}

/** What a finished program left. */
export interface Finished {
  /** Exit code; 126 when it could not be started at all. */
  readonly code: number;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

/** Whether this process is root, which PostgreSQL refuses to run as. */
export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** `nobody` when we are root, else ourselves. */
export function unprivilegedUser(): RunAs {
  if (!isRoot()) return { identity: undefined };
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { identity: { uid: id('-u'), gid: id('-g') } };
}

/**
 * Spawn options common to everything that runs as PostgreSQL's user: a folder it can surely enter, and an
 * environment without the caller's `PG*` variables, locale and zone.
 */
export function spawnOptions(runAs: RunAs): SpawnOptions {
  return {
    cwd: '/',
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    ...runAs.identity,
  };
}

/** Runs a program to its end as the given user; what it prints is returned, never thrown. */
export function run(runAs: RunAs, file: string, args: readonly string[]): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { ...spawnOptions(runAs), stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
    child.on('error', (error) => resolve({ code: 126, output: `${output}${error.message}` }));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}
