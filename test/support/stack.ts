import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { createCarillonTransport } from '@carillon/server/client-transport.ts';
import { type Client, createClient } from '@connectrpc/connect';
import { ServiceProcess } from './service-process.ts';

/** How a system is run. */
export interface StackOptions {
  /** A migrated database. */
  readonly databaseUrl: string;
  /** The folder of the version that everything begins with. Default: this one. */
  readonly checkout?: string;
  /** Added to the environment of every service. Default: nothing. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Settings of the scheduler, beside a lifted rate. */
  readonly scheduler?: Readonly<Record<string, string>>;
  readonly runs?: Readonly<Record<string, string>>;
  /** Arguments for Node itself, by the name of the service. */
  readonly nodeArguments?: Readonly<Record<string, readonly string[]>>;
  /** Where the scheduler is to find the runs service, given where that is. Default: there. */
  readonly runsUrl?: (url: string) => string | Promise<string>;
  /** Default: true. False leaves it to {@link Stack.addScheduler}. */
  readonly startScheduler?: boolean;
}

/** No limit on the rate, nor on catching up. */
const LIFTED = { CARILLON_RATE_PER_SECOND: '0', CARILLON_MAX_CATCHUP_RUNS_PER_LOOP: '1000000' };

/** A whole system as processes of their own, on one database. It ends only what it started. */
export class Stack {
  readonly schedules: ServiceProcess;
  readonly runs: ServiceProcess;
  /** In the order in which they were added. */
  readonly schedulers: ServiceProcess[] = [];
  readonly #options: StackOptions;
  readonly #logFolder: string;
  readonly #closers: (() => void)[] = [];
  #runsUrl = '';
  #failed = true;

  private constructor(options: StackOptions, logFolder: string) {
    this.#options = options;
    this.#logFolder = logFolder;
    this.schedules = this.#process('schedules', {});
    this.runs = this.#process('runs', options.runs ?? {});
  }

  /** Starts everything, and waits until it is ready. */
  static async start(options: StackOptions): Promise<Stack> {
    const stack = new Stack(options, await mkdtemp(join(tmpdir(), 'carillon-stack-')));
    try {
      await Promise.all([stack.schedules.start(), stack.runs.start()]);
      stack.#runsUrl = (await options.runsUrl?.(stack.runs.url)) ?? stack.runs.url;
      await Promise.all([stack.schedules.ready(), stack.runs.ready()]);
      if (options.startScheduler ?? true) await stack.addScheduler('scheduler');
      return stack;
    } catch (error) {
      await stack.stop();
      throw error;
    }
  }

  /** The first scheduler. */
  get scheduler(): ServiceProcess {
    const [first] = this.schedulers;
    if (first === undefined) throw new Error('this stack has no scheduler');
    return first;
  }

  get services(): readonly ServiceProcess[] {
    return [this.schedules, this.runs, ...this.schedulers];
  }

  /** Starts one more scheduler, under an instance name of its own, and waits until it is ready. */
  async addScheduler(
    name: string,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<ServiceProcess> {
    const scheduler = this.prepareScheduler(name, environment);
    await scheduler.start();
    await scheduler.ready();
    return scheduler;
  }

  /** One more scheduler, not started yet. */
  prepareScheduler(name: string, environment: Readonly<Record<string, string>> = {}): ServiceProcess {
    const scheduler = this.#process(name, {
      ...LIFTED,
      ...this.#options.scheduler,
      CARILLON_RUNS_URL: this.#runsUrl,
      CARILLON_INSTANCE: name,
      ...environment,
    });
    this.schedulers.push(scheduler);
    return scheduler;
  }

  /** A client of the schedules service. */
  schedulesClient(): Client<typeof ScheduleService> {
    const transport = createCarillonTransport({ baseUrl: this.schedules.url });
    this.#closers.push(() => transport.close());
    return createClient(ScheduleService, transport);
  }

  /** A client of the runs service itself. */
  runsClient(): Client<typeof RunService> {
    const transport = createCarillonTransport({ baseUrl: this.runs.url });
    this.#closers.push(() => transport.close());
    return createClient(RunService, transport);
  }

  /** All went as it should: the logs are not needed. */
  succeeded(): void {
    this.#failed = false;
  }

  /** Ends every process; the logs stay, and it says where, unless all went as it should. */
  async stop(): Promise<void> {
    for (const close of this.#closers) close();
    for (const service of this.services) await service.kill('SIGCONT');
    await Promise.all(this.schedulers.map((scheduler) => scheduler.stop(15_000)));
    await Promise.all([this.schedules.stop(15_000), this.runs.stop(15_000)]);
    if (this.#failed) console.error(`the logs are kept in ${this.#logFolder}`);
    else await rm(this.#logFolder, { recursive: true, force: true });
  }

  #process(name: string, environment: Readonly<Record<string, string>>): ServiceProcess {
    const service = name === 'schedules' || name === 'runs' ? name : 'scheduler';
    return new ServiceProcess({
      name,
      entry: join('services', service, 'src', 'main.ts'),
      environment: {
        DATABASE_URL: this.#options.databaseUrl,
        CARILLON_LOG_LEVEL: 'info',
        ...this.#options.environment,
        ...environment,
      },
      logFolder: this.#logFolder,
      nodeArguments: this.#options.nodeArguments?.[service] ?? [],
      ...(this.#options.checkout === undefined ? {} : { checkout: this.#options.checkout }),
    });
  }
}
