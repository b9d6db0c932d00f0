import { SchedulerService } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { createClient } from '@connectrpc/connect';
import type { Host } from '../host.ts';
import { inCheckout } from './checkout.ts';
import { LOOPBACK } from './port.ts';
import { schedulerProbe, serviceProbe } from './readiness-probe.ts';
import { type ProcessDefinition, type ProcessObserver, SupervisedProcess } from './supervised-process.ts';

/** What the services and the worker need to know. */
export interface StackOptions {
  readonly host: Pick<Host, 'clock' | 'kill' | 'nodePath' | 'environment' | 'connect'>;
  readonly databaseUrl: string;
  readonly ports: { readonly runs: number; readonly schedules: number; readonly scheduler: number };
  readonly logFolder: string;
  /** Absolute paths that the example worker may run. */
  readonly allowedCommands: readonly string[];
  readonly observe: (name: string) => ProcessObserver;
}

/** Names of the processes, in the order in which they are shown. */
export const STACK_NAMES = ['schedules', 'scheduler', 'runs', 'worker'] as const;

/** One of {@link STACK_NAMES}. */
export type StackName = (typeof STACK_NAMES)[number];

/** Who stops when: each group only after the one before it, which still needs it to drain. */
const STOP_ORDER: readonly (readonly StackName[])[] = [['scheduler', 'worker'], ['schedules'], ['runs']];
/** Longer than the longest of them grants itself: the worker takes up to 35 s. */
const STOP_LIMIT_MS = 40_000;
const WORKER_SLOTS = 8;

/** The three services and the worker, each a process of its own. */
export class Stack {
  readonly #processes: ReadonlyMap<StackName, SupervisedProcess>;

  constructor(options: StackOptions) {
    this.#processes = new Map(
      definitions(options).map((definition) => [
        definition.name,
        new SupervisedProcess(definition, options.host, options.logFolder, options.observe(definition.name)),
      ]),
    );
  }

  /** Starts all of them at once: they wait for one another by themselves. */
  start(): void {
    for (const process of this.#processes.values()) process.start();
  }

  /** Stops all of them, in order. */
  async stop(): Promise<void> {
    for (const group of STOP_ORDER) {
      await Promise.all(group.map((name) => this.#processes.get(name)?.stop(STOP_LIMIT_MS)));
    }
  }

  /** Ends all of them at once, while {@link stop} is under way. */
  kill(): void {
    for (const process of this.#processes.values()) process.kill();
  }
}

function definitions(options: StackOptions): (ProcessDefinition & { name: StackName })[] {
  const { ports, databaseUrl, host } = options;
  const inherited = Object.entries(host.environment).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !entry[0].startsWith('CARILLON_'),
  );
  const base = {
    ...Object.fromEntries(inherited),
    CARILLON_LOG_LEVEL: host.environment.CARILLON_LOG_LEVEL ?? 'info',
  };
  const urlOf = (name: Exclude<StackName, 'worker'>): string => `http://${LOOPBACK}:${ports[name]}`;
  const service = (name: Exclude<StackName, 'worker'>, more: Readonly<Record<string, string>> = {}) => ({
    name,
    entry: inCheckout('services', name, 'src', 'main.ts'),
    environment: {
      ...base,
      DATABASE_URL: databaseUrl,
      CARILLON_HOST: LOOPBACK,
      CARILLON_PORT: String(ports[name]),
      ...more,
    },
    probe: serviceProbe(urlOf(name)),
  });
  const runsUrl = urlOf('runs');
  return [
    service('schedules', { CARILLON_RUNS_URL: runsUrl }),
    // Under its own name again, a restarted scheduler has its lease back at once.
    {
      ...service('scheduler', { CARILLON_RUNS_URL: runsUrl, CARILLON_INSTANCE: 'dev' }),
      probe: schedulerProbe(
        urlOf('scheduler'),
        createClient(SchedulerService, host.connect(urlOf('scheduler'))),
      ),
    },
    service('runs'),
    {
      name: 'worker',
      entry: inCheckout('apps', 'worker', 'src', 'main.ts'),
      environment: {
        ...base,
        CARILLON_RUNS_URL: runsUrl,
        CARILLON_SLOTS: String(WORKER_SLOTS),
        CARILLON_ALLOWED_COMMANDS: options.allowedCommands.join(','),
      },
      probe: 'working',
    },
  ];
}
