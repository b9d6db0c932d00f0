import { join } from 'node:path';
import { sleep } from '@carillon/core/clock.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createClient } from '@connectrpc/connect';
import type { Host } from '../host.ts';
import { ALLOWED_COMMANDS } from './allowed-commands.ts';
import { applyExamples } from './apply-examples.ts';
import { type DevDatabase, openDatabase } from './database.ts';
import { type DevState, devFilePath, readDevState } from './dev-file.ts';
import { DevRecord } from './dev-record.ts';
import { IdleTimes } from './idle-times.ts';
import { endOrphans } from './orphans.ts';
import { freePort, LOOPBACK, portOf } from './port.ts';
import { processIdentity } from './process-identity.ts';
import { watchAllRuns } from './run-watch.ts';
import { ScheduleWatch } from './schedule-watch.ts';
import { Stack } from './stack.ts';
import type { ProcessObserver, ProcessState } from './supervised-process.ts';
import type { DevView } from './view/dev-view.ts';
import { LiveView } from './view/live-view.ts';
import { PlainView } from './view/plain-view.ts';

const DEFAULT_PORTS = { schedules: 7701, scheduler: 7702, runs: 7703 } as const;
const POLL_MS = 50;

type Ports = { readonly [Name in keyof typeof DEFAULT_PORTS]: number };

/** What `carillon dev` is asked for. */
export interface DevOptions {
  /** Whether to apply the examples. */
  readonly examples: boolean;
  /** False: lines instead of the live view. */
  readonly live: boolean;
}

/** One `carillon dev`, from start to end. */
export class DevSession {
  readonly #host: Host;
  readonly #folder: string;
  readonly #options: DevOptions;
  readonly #quit = new AbortController();
  readonly #hurry = new AbortController();
  /** Aborts when it is time to stop. */
  readonly #stop: AbortSignal;
  readonly #addresses = new Map<string, string>();
  readonly #states = new Map<string, ProcessState>();
  readonly #idle = new IdleTimes();
  #view: DevView;

  /** @param folder where state is kept. */
  constructor(host: Host, folder: string, options: DevOptions) {
    this.#host = host;
    this.#folder = folder;
    this.#options = options;
    this.#stop = AbortSignal.any([host.interrupted, this.#quit.signal]);
    this.#view = new PlainView(host.stdout, host.clock);
  }

  /** Starts everything, shows it until Ctrl-C, and stops it in order. */
  async run(): Promise<void> {
    const path = devFilePath(this.#folder);
    const before = await readDevState(path);
    const releaseTerminal = this.#takeTerminal();
    let after: readonly string[] = [];
    try {
      if (before !== undefined)
        await endOrphans(this.#host, before.processes, (line) => this.#view.note('dev', line));
      after = await this.#runStack(path, before);
    } finally {
      releaseTerminal();
    }
    for (const line of after) this.#host.stdout.write(`${line}\n`);
  }

  async #runStack(path: string, before: DevState | undefined): Promise<readonly string[]> {
    const host = this.#host;
    const ports = await choosePorts(before);
    const urls = {
      schedules: `http://${LOOPBACK}:${ports.schedules}`,
      scheduler: `http://${LOOPBACK}:${ports.scheduler}`,
      runs: `http://${LOOPBACK}:${ports.runs}`,
    };
    for (const [name, url] of Object.entries(urls)) this.#addresses.set(name, url);
    const logDirectory = join(this.#folder, 'logs');
    const record = new DevRecord(path, {
      version: 1,
      running: false,
      pid: host.pid,
      urls,
      databaseUrl: before?.databaseUrl ?? '',
      dataDirectory: before?.dataDirectory ?? null,
      logDirectory,
      processes: [],
    });
    record.update({});
    const database = await this.#openDatabase(record, before);
    if (database === undefined) return ['stopped before it was up'];
    const stack = new Stack({
      host,
      databaseUrl: database.url,
      ports,
      logFolder: logDirectory,
      allowedCommands: ALLOWED_COMMANDS,
      observe: (name) => this.#observe(name, record),
    });
    AbortSignal.any([host.interruptedAgain, this.#hurry.signal]).addEventListener('abort', () =>
      stack.kill(),
    );
    try {
      stack.start();
      await this.#untilStopped(record, urls);
    } finally {
      this.#view.note('dev', 'stopping: scheduler and worker first, PostgreSQL last');
      await stack.stop();
      await database.stop();
      record.stopped();
      await record.saved();
    }
    return [
      'carillon dev has stopped. The next start goes on from here.',
      `  data  ${database.dataDirectory ?? 'in the database of DATABASE_URL'}`,
      `  logs  ${logDirectory}`,
    ];
  }

  async #openDatabase(record: DevRecord, before: DevState | undefined): Promise<DevDatabase | undefined> {
    const observer = this.#observe('postgres', record);
    const port = before?.dataDirectory ? portOf(before.databaseUrl) : undefined;
    try {
      const database = await openDatabase({
        host: this.#host,
        folder: join(this.#folder, 'postgres'),
        port,
        observer: {
          ...observer,
          onSpawn: (pid) => {
            void processIdentity(pid).then((identity) => {
              if (identity !== undefined) observer.onSpawn(pid, identity);
            });
          },
        },
        onAddress: (address) => this.#addresses.set('postgres', address),
        log: (line) => this.#view.note('postgres', line),
        signal: this.#stop,
      });
      record.update({ databaseUrl: database.url, dataDirectory: database.dataDirectory });
      return database;
    } catch (error) {
      if (this.#stop.aborted) return undefined;
      throw error;
    }
  }

  /** Applies the examples once the schedules service is up, and watches everything until it is time to stop. */
  async #untilStopped(record: DevRecord, urls: DevState['urls']): Promise<void> {
    const { clock } = this.#host;
    const signal = this.#stop;
    const schedules = createClient(ScheduleService, this.#host.connect(urls.schedules));
    const runs = createClient(RunService, this.#host.connect(urls.runs));
    const view = this.#view;
    const scheduleWatch = new ScheduleWatch({ client: schedules, clock, view, signal });
    const startUp = async (): Promise<void> => {
      await this.#ready('schedules');
      if (this.#options.examples) {
        await applyExamples(this.#host, urls, signal, (line) => this.#view.note('examples', line));
      }
      await Promise.all(['runs', 'scheduler', 'worker'].map((name) => this.#ready(name)));
      record.update({ running: true });
      await record.saved();
      this.#view.note('dev', `ready; addresses and process ids stand in ${devFilePath(this.#folder)}`);
    };
    const watching = [scheduleWatch.run(), this.#watchRuns(runs, scheduleWatch, view), startUp()];
    const stopped = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    try {
      await Promise.race([stopped, Promise.all(watching).then(() => stopped)]);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#quit.abort('stopping');
      await Promise.allSettled(watching);
    }
  }

  async #watchRuns(
    client: Parameters<typeof watchAllRuns>[0]['client'],
    schedules: ScheduleWatch,
    view: DevView,
  ): Promise<void> {
    await this.#ready('runs');
    const [host, idle, signal] = [this.#host, this.#idle, this.#stop];
    await watchAllRuns({ client, host, schedules, idle, view, signal });
  }

  /** Waits until a part is ready. Rejects when it is time to stop. */
  async #ready(name: string): Promise<void> {
    while (this.#states.get(name)?.kind !== 'ready') await sleep(this.#host.clock, POLL_MS, this.#stop);
  }

  #observe(name: string, record: DevRecord): ProcessObserver {
    return {
      onState: (state, restarts) => {
        this.#states.set(name, state);
        if (name === 'scheduler') this.#idle.note(state.kind === 'ready', this.#host.clock.now());
        this.#show(name, restarts);
      },
      onComplaint: (line) => this.#view.note(name, line),
      onSpawn: (pid, identity) => record.processStarted({ name, pid, identity }),
    };
  }

  #show(name: string, restarts: number): void {
    const state = this.#states.get(name);
    if (state !== undefined) {
      this.#view.component({ name, address: this.#addresses.get(name) ?? '', state, restarts });
    }
  }

  /** Shows the live view where there is a terminal for it. The answer gives the terminal back. */
  #takeTerminal(): () => void {
    const { stdout, keyboard, environment } = this.#host;
    if (!stdout.isTerminal || !this.#options.live || environment.TERM === 'dumb') return () => undefined;
    const live = new LiveView(
      this.#host,
      'Ctrl-C stops everything  ·  logs: .carillon/logs  ·  more: npx carillon --help',
    );
    this.#view = live;
    const release = keyboard?.listen((key) => {
      if (key === '\u0003' && this.#stop.aborted) this.#hurry.abort('a second Ctrl-C');
      if (key === '\u0003' || key === 'q') this.#quit.abort('a key');
      if (key === '\u000c') live.redraw();
    });
    return () => {
      release?.();
      live.close();
    };
  }
}

/** The ports of the start before, or the usual ones; others where they are taken. */
async function choosePorts(before: DevState | undefined): Promise<Ports> {
  const port = async (name: keyof Ports): Promise<number> =>
    freePort(before === undefined ? DEFAULT_PORTS[name] : portOf(before.urls[name]));
  return { schedules: await port('schedules'), scheduler: await port('scheduler'), runs: await port('runs') };
}
