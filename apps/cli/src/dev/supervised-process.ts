import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Clock, sleep } from '@carillon/core/clock.ts';
import type { Host } from '../host.ts';
import { CHECKOUT } from './checkout.ts';
import { openLogFile } from './log-file.ts';
import { processIdentity } from './process-identity.ts';
import type { ReadinessProbe } from './readiness-probe.ts';

/** A process to be kept running. */
export interface ProcessDefinition {
  readonly name: string;
  /** Path of its `main.ts`. */
  readonly entry: string;
  /** Its whole environment. */
  readonly environment: Readonly<Record<string, string>>;
  /**
   * Asks whether it does its work: undefined if so, else why not. Throws when it does not answer at all. For a process
   * that nobody can ask: the message in its log by which it says that it has begun.
   */
  readonly probe: ReadinessProbe | string;
}

/** What a supervised process does. */
export type ProcessState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready' }
  /** It runs, and cannot do its work at present. */
  | { readonly kind: 'unready'; readonly reason: string }
  /** It has died, and will be started again at the monotonic instant. */
  | { readonly kind: 'waiting'; readonly exit: string; readonly restartAt: number }
  | { readonly kind: 'stopping' }
  | { readonly kind: 'stopped' };

/** Who is told what a process does and says. */
export interface ProcessObserver {
  onState(state: ProcessState, restarts: number): void;
  /** A line of its log that a person should see, or what it died of. */
  onComplaint(line: string): void;
  /** It was started: its id, and identity. */
  onSpawn(pid: number, identity: string): void;
}

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 15_000;
/** Who lived that long has recovered: its next delay is the first again. */
const RECOVERED_MS = 30_000;
/** That it is not ready yet is no news so soon after its start. */
const SETTLING_MS = 5_000;
/** How long to wait after a probe: a start is watched closely, what works is not bothered. */
const PROBE_PAUSE_MS = { starting: 50, unready: 250, ready: 1_000 };
const PROBE_LIMIT_MS = 2_000;
/** Node prints a stack of some lines when it ends by an error, and the error itself is in the middle of it. */
const MOST_LAST_WORDS = 50;

/** Runs a process, starts it again whenever it ends, and asks it regularly how it does. */
export class SupervisedProcess {
  readonly name: string;
  readonly #definition: ProcessDefinition;
  readonly #host: Pick<Host, 'clock' | 'kill' | 'nodePath'>;
  readonly #logFolder: string;
  readonly #observer: ProcessObserver;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #restarts = 0;
  #hasBegun = false;
  #loop: Promise<void> | undefined;
  #state: ProcessState = { kind: 'starting' };

  constructor(
    definition: ProcessDefinition,
    host: Pick<Host, 'clock' | 'kill' | 'nodePath'>,
    logFolder: string,
    observer: ProcessObserver,
  ) {
    this.name = definition.name;
    this.#definition = definition;
    this.#host = host;
    this.#logFolder = logFolder;
    this.#observer = observer;
  }

  /** What it does at present. */
  get state(): ProcessState {
    return this.#state;
  }

  /** Starts it, once. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Ends it: SIGTERM, and after the limit SIGKILL for it and what it started. Never starts again. */
  async stop(limitMs: number): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    const child = this.#child;
    if (child?.pid !== undefined && isRunning(child)) {
      this.#enter({ kind: 'stopping' });
      this.#host.kill(-child.pid, 'SIGTERM');
      const timer = this.#host.clock.after(limitMs, () => this.kill());
      await this.#loop;
      timer.cancel();
    }
    await this.#loop;
    this.#enter({ kind: 'stopped' });
  }

  /** Ends it at once, with what it started. */
  kill(): void {
    const child = this.#child;
    if (child?.pid !== undefined && isRunning(child)) this.#host.kill(-child.pid, 'SIGKILL');
  }

  async #run(): Promise<void> {
    const { clock } = this.#host;
    const stop = this.#stopping.signal;
    let log: NodeJS.WritableStream | undefined;
    let failures = 0;
    while (!stop.aborted) {
      this.#enter({ kind: 'starting' });
      log ??= await openLogFile(this.#logFolder, this.name);
      const startedAt = clock.monotonic();
      const exit = await this.#runOnce(log);
      if (stop.aborted) break;
      failures = clock.monotonic() - startedAt > RECOVERED_MS ? 1 : failures + 1;
      const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1));
      this.#restarts += 1;
      this.#enter({ kind: 'waiting', exit, restartAt: clock.monotonic() + delayMs });
      await sleep(clock, delayMs, stop).catch(() => undefined);
    }
    log?.end();
  }

  /** Runs it to its end, and answers how it ended. */
  async #runOnce(log: NodeJS.WritableStream): Promise<string> {
    const { entry, environment } = this.#definition;
    const child = spawn(
      this.#host.nodePath,
      ['--import', new URL('./parent-watch.ts', import.meta.url).href, entry],
      // A group of its own: Ctrl-C in the terminal is for us alone, and what it starts ends with it.
      { cwd: CHECKOUT, env: environment, detached: true, stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.#child = child;
    this.#hasBegun = false;
    const exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('close', (code, signal) =>
        resolve(signal === null ? `exited with ${code}` : `ended by ${signal}`),
      );
    });
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', (line) => {
      log.write(`${line}\n`);
      const record = logRecord(line);
      if (record === undefined) return;
      if (record.msg === this.#definition.probe) this.#hasBegun = true;
      const complaint = complaintOf(record);
      if (complaint !== undefined) this.#observer.onComplaint(complaint);
    });
    const lastWords: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.write(`${line}\n`);
      lastWords.push(line);
      if (lastWords.length > MOST_LAST_WORDS) lastWords.shift();
    });
    if (child.pid !== undefined) {
      const identity = await processIdentity(child.pid);
      if (identity !== undefined) this.#observer.onSpawn(child.pid, identity);
    }
    const over = new AbortController();
    const probing = this.#probe(AbortSignal.any([over.signal, this.#stopping.signal]));
    const exit = await exited;
    over.abort(new Error(exit));
    await probing;
    const cause =
      lastWords.find((line) => /^\s*\S*Error\b/.test(line)) ?? lastWords.find((line) => line.trim() !== '');
    if (cause !== undefined && !this.#stopping.signal.aborted) this.#observer.onComplaint(cause.trim());
    return exit;
  }

  async #probe(signal: AbortSignal): Promise<void> {
    const { clock } = this.#host;
    const startedAt = clock.monotonic();
    while (!signal.aborted) {
      const next = await this.#probeOnce(clock, signal);
      if (signal.aborted) return;
      const settling = this.#state.kind === 'starting' && clock.monotonic() - startedAt < SETTLING_MS;
      if (next !== undefined && !(settling && next.kind === 'unready')) this.#enter(next);
      const { kind } = this.#state;
      const pause = kind === 'starting' || kind === 'unready' ? PROBE_PAUSE_MS[kind] : PROBE_PAUSE_MS.ready;
      await sleep(clock, pause, signal).catch(() => undefined);
    }
  }

  /** The state it is in; undefined when there is no saying yet, because it has never answered. */
  async #probeOnce(clock: Clock, signal: AbortSignal): Promise<ProcessState | undefined> {
    const { probe } = this.#definition;
    if (typeof probe === 'string') return this.#hasBegun ? { kind: 'ready' } : undefined;
    const limit = new AbortController();
    const timer = clock.after(PROBE_LIMIT_MS, () => limit.abort(new Error('no answer')));
    try {
      const reason = await probe(AbortSignal.any([signal, limit.signal]));
      return reason === undefined ? { kind: 'ready' } : { kind: 'unready', reason };
    } catch {
      return this.#state.kind === 'starting' ? undefined : { kind: 'unready', reason: 'does not answer' };
    } finally {
      timer.cancel();
    }
  }

  #enter(state: ProcessState): void {
    const before = this.#state;
    this.#state = state;
    const same =
      before.kind === state.kind &&
      (state.kind !== 'unready' || (before.kind === 'unready' && before.reason === state.reason));
    if (!same || state.kind === 'starting') this.#observer.onState(state, this.#restarts);
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** The message of a log line of level error or worse. */
function complaintOf({ level, msg, err, faults }: Record<string, unknown>): string | undefined {
  if (level !== 'error' && level !== 'fatal') return undefined;
  const cause =
    typeof err === 'object' && err !== null && 'message' in err
      ? `: ${String(err.message)}`
      : Array.isArray(faults)
        ? `: ${faults.join('; ')}`
        : '';
  return `${String(msg)}${cause}`;
}

function logRecord(line: string): Record<string, unknown> | undefined {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return undefined;
  }
  return typeof json === 'object' && json !== null && 'level' in json
    ? (json as Record<string, unknown>)
    : undefined;
}
