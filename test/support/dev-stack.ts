import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type DevState, devFilePath, readDevState } from '@carillon/cli';

/** The checkout. */
export const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url));
const LINE_LIMIT_MS = 60_000;
const MAIN = join(CHECKOUT, 'apps', 'cli', 'src', 'main.ts');

/** How to run `carillon dev`. */
export interface DevOptions {
  /** Where it keeps its state. */
  readonly folder: string;
  /** Default: the embedded PostgreSQL. */
  readonly databaseUrl?: string;
  /** Further options. Default: none. */
  readonly options?: readonly string[];
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A `carillon dev` without a terminal, and what it has printed so far. */
export class DevStack {
  readonly child: ChildProcess;
  readonly exited: Promise<Exit>;
  readonly folder: string;
  readonly lines: string[] = [];
  readonly #waiting = new Set<() => void>();
  #over = false;

  constructor({ folder, databaseUrl, options = [] }: DevOptions) {
    this.folder = folder;
    const { DATABASE_URL: _, ...environment } = process.env;
    this.child = spawn(process.execPath, [MAIN, 'dev', '--folder', folder, ...options], {
      // Not the checkout: a stack of a developer must be out of sight.
      cwd: folder,
      env: { ...environment, ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        this.#wake();
      });
    }
    this.exited = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('close', (code, signal) => {
        this.#over = true;
        this.#wake();
        resolve({ code, signal });
      });
    });
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }

  /** Its process id. */
  get pid(): number {
    if (this.child.pid === undefined) throw new Error('carillon dev was not started');
    return this.child.pid;
  }

  /** Waits for a line after the first `from` that matches; fails with all of them when it ends before, or after 60 s. */
  async line(pattern: RegExp, from = 0): Promise<string> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, LINE_LIMIT_MS);
    try {
      for (;;) {
        const found = this.lines.slice(from).find((line) => pattern.test(line));
        if (found !== undefined) return found;
        if (this.#over || late) throw new Error(`no line matches ${pattern}:\n${this.lines.join('\n')}`);
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits until everything is up, and answers where. */
  async ready(): Promise<DevState> {
    await this.line(/ dev +ready; /);
    return this.state();
  }

  /** What `dev.json` says. */
  async state(): Promise<DevState> {
    const state = await readDevState(devFilePath(this.folder));
    if (state === undefined) throw new Error(`no dev.json in ${this.folder}`);
    return state;
  }

  /** The id of one of its processes, as `dev.json` says. */
  async pidOf(name: string): Promise<number> {
    const found = (await this.state()).processes.find((candidate) => candidate.name === name);
    if (found === undefined) throw new Error(`${name} is not in dev.json`);
    return found.pid;
  }

  /** Ctrl-C, and waits for the end. */
  async stop(): Promise<Exit> {
    this.child.kill('SIGINT');
    return this.exited;
  }

  /** Ends everything at once and without a word: a power cut, as far as processes can have one. */
  async killAll(): Promise<void> {
    const { processes } = await this.state();
    this.child.kill('SIGKILL');
    for (const { name, pid } of processes) {
      try {
        process.kill(name === 'postgres' ? pid : -pid, 'SIGKILL');
      } catch (error) {
        // A child that noticed the end of its parent was faster.
        if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
      }
    }
    await this.exited;
  }
}

/** A folder for a stack: named as the command line looks for it, in a folder of its own. */
export async function devFolder(): Promise<{ folder: string; parent: string; remove: () => Promise<void> }> {
  const parent = await mkdtemp(join(tmpdir(), 'carillon-e2e-'));
  const folder = join(parent, '.carillon');
  await mkdir(folder);
  return {
    folder,
    parent,
    remove: async () => {
      // With root the embedded PostgreSQL keeps its data where its own user can reach them.
      const data = (await readDevState(devFilePath(folder)))?.dataDirectory;
      if (data) await rm(data, { recursive: true, force: true });
      await rm(parent, { recursive: true, force: true });
    },
  };
}

/** What a command left behind. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `carillon` as a process of its own, from a folder; the signal is Ctrl-C. */
export function carillon(
  folder: string,
  args: readonly string[],
  { input = '', signal }: { readonly input?: string; readonly signal?: AbortSignal } = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(CHECKOUT, 'apps', 'cli', 'bin', 'carillon.mjs'), ...args], {
      cwd: folder,
      env: { ...process.env, CARILLON_SCHEDULES_URL: '', CARILLON_RUNS_URL: '', TZ: 'UTC' },
    });
    signal?.addEventListener('abort', () => child.kill('SIGINT'));
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      stderr += String(chunk);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}
