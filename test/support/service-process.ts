import { type ChildProcess, spawn } from 'node:child_process';
import { openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CHECKOUT } from './dev-stack.ts';

/** How a process ended. */
export interface ServiceExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What to run, and how. */
export interface ServiceProcessOptions {
  /** Names its log. */
  readonly name: string;
  /** Path of its `main.ts`, in the checkout. */
  readonly entry: string;
  /** The folder of the version to run. Default: this one. */
  readonly checkout?: string;
  /** Added to this process's environment, but for `DATABASE_URL` and `CARILLON_*`, which are not inherited. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where its log goes. */
  readonly logFolder: string;
  /** Arguments for Node itself, as in `--cpu-prof`. Default: none. */
  readonly nodeArguments?: readonly string[];
}

const POLL_MS = 10;
const START_LIMIT_MS = 30_000;
const LOG_TAIL = 4_000;
const ENDING: readonly NodeJS.Signals[] = ['SIGKILL', 'SIGTERM', 'SIGINT'];

const living = new Set<ChildProcess>();
// A test or bench that fails must leave none behind.
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** A service as a process of its own, on the same port through all its lives. */
export class ServiceProcess {
  readonly name: string;
  readonly logFile: string;
  /** The end of each life that was not asked for by a signal from here. */
  readonly deaths: ServiceExit[] = [];
  readonly #options: ServiceProcessOptions;
  readonly #log: number;
  #environment: Readonly<Record<string, string>>;
  #checkout: string;
  #child: ChildProcess | undefined;
  #exited: Promise<ServiceExit> = Promise.resolve({ code: null, signal: null });
  #logStart = 0;
  #url: string | undefined;
  #signalled = false;

  constructor(options: ServiceProcessOptions) {
    this.#options = options;
    this.#environment = options.environment;
    this.#checkout = options.checkout ?? CHECKOUT;
    this.name = options.name;
    this.logFile = join(options.logFolder, `${options.name}.log`);
    this.#log = openSync(this.logFile, 'a');
  }

  /** Where it listens. */
  get url(): string {
    if (this.#url === undefined) throw new Error(`${this.name} has not listened yet`);
    return this.#url;
  }

  /** Its process id. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  /** Whether a life goes on. */
  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Settles at the end of this life. */
  get exited(): Promise<ServiceExit> {
    return this.#exited;
  }

  /** From its next life on it is of another version. Default: this one. */
  become(checkout = CHECKOUT): void {
    this.#checkout = checkout;
  }

  /** Begins a life and waits until it listens; `environment` replaces what it was given before. */
  async start(environment?: Readonly<Record<string, string>>): Promise<void> {
    if (this.running) throw new Error(`${this.name} runs already`);
    this.#environment =
      environment === undefined ? this.#environment : { ...this.#environment, ...environment };
    const inherited = Object.entries(process.env).filter(
      ([name]) => name !== 'DATABASE_URL' && name !== 'NODE_OPTIONS' && !name.startsWith('CARILLON_'),
    );
    this.#logStart = statSync(this.logFile).size;
    this.#signalled = false;
    const child = spawn(
      process.execPath,
      [...(this.#options.nodeArguments ?? []), join(this.#checkout, this.#options.entry)],
      {
        cwd: this.#options.logFolder,
        env: {
          ...Object.fromEntries(inherited),
          CARILLON_PORT: this.#url === undefined ? '0' : new URL(this.#url).port,
          ...this.#environment,
        },
        stdio: ['ignore', this.#log, this.#log],
      },
    );
    this.#child = child;
    living.add(child);
    this.#exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        living.delete(child);
        if (!this.#signalled) this.deaths.push({ code, signal });
        resolve({ code, signal });
      });
      child.on('error', () => resolve({ code: 126, signal: null }));
    });
    const endMs = performance.now() + START_LIMIT_MS;
    for (;;) {
      const url = /"msg":"listening".*?"url":"(http:[^"]+)"|"url":"(http:[^"]+)".*?"msg":"listening"/.exec(
        this.log(),
      );
      if (url) {
        this.#url = url[1] ?? url[2];
        return;
      }
      if (!this.running) throw new Error(`${this.name} ended before it listened:\n${this.log()}`);
      if (performance.now() > endMs) throw new Error(`${this.name} did not listen:\n${this.log()}`);
      await delay(POLL_MS);
    }
  }

  /** Waits until `/readyz` says so. */
  async ready(limitMs = START_LIMIT_MS): Promise<void> {
    const endMs = performance.now() + limitMs;
    let last = 'nothing yet';
    while (performance.now() < endMs) {
      try {
        const response = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2_000) });
        last = await response.text();
        if (response.ok) return;
      } catch (error) {
        last = String(error);
      }
      if (!this.running) break;
      await delay(POLL_MS);
    }
    throw new Error(`${this.name} is not ready: ${last}\n${this.log().slice(-LOG_TAIL)}`);
  }

  /** Sends a signal. A SIGKILL is awaited, so that its successor does not find the port taken. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    if (ENDING.includes(signal)) this.#signalled = true;
    process.kill(this.pid, signal);
    if (signal === 'SIGKILL') await this.#exited;
  }

  /** SIGTERM, and answers how it ended; SIGKILL after the limit. */
  async stop(limitMs = 30_000): Promise<ServiceExit> {
    if (!this.running) return this.#exited;
    await this.kill('SIGTERM');
    const timer = setTimeout(() => void this.kill('SIGKILL'), limitMs);
    const exit = await this.#exited;
    clearTimeout(timer);
    return exit;
  }

  /** The log of this life. */
  log(): string {
    return readFileSync(this.logFile).subarray(this.#logStart).toString('utf8');
  }

  /** A metric of it: the sum over all labels that contain `labels`; 0 when it is not there. */
  async metric(name: string, labels = ''): Promise<number> {
    const response = await fetch(`${this.url}/metrics`, { signal: AbortSignal.timeout(5_000) });
    let sum = 0;
    for (const line of (await response.text()).split('\n')) {
      const [, found, given = '', value] = /^([a-zA-Z_:][\w:]*)(\{[^}]*\})? (\S+)/.exec(line) ?? [];
      if (found === name && given.includes(labels)) sum += Number(value);
    }
    return sum;
  }
}
