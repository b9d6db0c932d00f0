import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { SchedulerService } from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { type Command, Option } from 'commander';
import { durationOption } from './command-options.ts';
import { findDevState } from './dev/dev-file.ts';
import { CliError, ExitCode, usageError } from './exit-code.ts';
import type { Host } from './host.ts';

/** The options that say where the servers are. */
export interface ConnectionOptions {
  readonly server?: string;
  readonly runsServer?: string;
  readonly schedulerServer?: string;
  /** The longest a call may take, in milliseconds. */
  readonly timeout: number;
}

/** A service to call, and how a call to it is made. */
export interface Connection<
  Service extends typeof ScheduleService | typeof RunService | typeof SchedulerService,
> {
  readonly url: string;
  readonly client: Client<Service>;
  /** The options of every unary call: its deadline, and Ctrl-C. */
  readonly call: { readonly timeoutMs: number; readonly signal: AbortSignal };
}

const DEFAULT_TIMEOUT_MS = 15_000;

/** Adds `--server`, `--runs-server`, `--scheduler-server` (whichever the command needs) and `--timeout`. */
export function withConnectionOptions(
  command: Command,
  ...services: readonly ('schedules' | 'runs' | 'scheduler')[]
): Command {
  if (services.includes('schedules')) {
    command.addOption(
      new Option(
        '--server <url>',
        'the schedules service (default: CARILLON_SCHEDULES_URL, else what "carillon dev" runs)',
      ),
    );
  }
  if (services.includes('runs')) {
    command.addOption(
      new Option(
        '--runs-server <url>',
        'the runs service (default: CARILLON_RUNS_URL, else what "carillon dev" runs)',
      ),
    );
  }
  if (services.includes('scheduler')) {
    command.addOption(
      new Option(
        '--scheduler-server <url>',
        'a scheduler (default: CARILLON_SCHEDULER_URL, else what "carillon dev" runs)',
      ),
    );
  }
  return command.addOption(
    new Option('--timeout <duration>', 'the longest a call may take')
      .argParser(durationOption)
      .default(DEFAULT_TIMEOUT_MS, '15s'),
  );
}

/** Finds the schedules service: option, environment, nearest `.carillon/dev.json`. */
export async function connectSchedules(
  host: Host,
  options: ConnectionOptions,
): Promise<Connection<typeof ScheduleService>> {
  const url = await findUrl(host, 'schedules', '--server', options.server, 'CARILLON_SCHEDULES_URL');
  return {
    url,
    client: createClient(ScheduleService, host.connect(url)),
    call: { timeoutMs: options.timeout, signal: host.interrupted },
  };
}

/** Finds the runs service likewise. */
export async function connectRuns(
  host: Host,
  options: ConnectionOptions,
): Promise<Connection<typeof RunService>> {
  const url = await findUrl(host, 'runs', '--runs-server', options.runsServer, 'CARILLON_RUNS_URL');
  return {
    url,
    client: createClient(RunService, host.connect(url)),
    call: { timeoutMs: options.timeout, signal: host.interrupted },
  };
}

/** Finds a scheduler likewise. */
export async function connectScheduler(
  host: Host,
  options: ConnectionOptions,
): Promise<Connection<typeof SchedulerService>> {
  const given = options.schedulerServer;
  const url = await findUrl(host, 'scheduler', '--scheduler-server', given, 'CARILLON_SCHEDULER_URL');
  return {
    url,
    client: createClient(SchedulerService, host.connect(url)),
    call: { timeoutMs: options.timeout, signal: host.interrupted },
  };
}

/** Awaits a call; when the server cannot be reached, the failure says which one it was and what to do. */
export async function reach<T>(connection: { readonly url: string }, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ConnectError && isOutOfReach(error)) {
      throw new CliError(
        ExitCode.unavailable,
        `${connection.url} cannot be reached`,
        ['Is it running? "npm start" runs everything on this machine.'],
        { cause: error },
      );
    }
    throw error;
  }
}

/** True for what Node says when nobody listens there; a server's own UNAVAILABLE has no such cause. */
function isOutOfReach(error: ConnectError): boolean {
  if (error.code !== Code.Unavailable) return false;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    if ('syscall' in cause) return true;
  return false;
}

async function findUrl(
  host: Host,
  service: 'schedules' | 'runs' | 'scheduler',
  option: string,
  given: string | undefined,
  variable: string,
): Promise<string> {
  const fromEnvironment = host.environment[variable];
  if (given !== undefined) return checkedUrl(given, option);
  if (fromEnvironment) return checkedUrl(fromEnvironment, variable);
  const found = await findDevState(host.workingDirectory);
  if (found?.state.running) return found.state.urls[service];
  throw new CliError(
    ExitCode.unavailable,
    `no ${service === 'scheduler' ? service : `${service} service`} is known`,
    [
      found === undefined
        ? 'No .carillon/dev.json here or above: start everything with "npm start",'
        : `What ${found.path} describes was stopped: start it with "npm start",`,
      `or give ${option} or ${variable}.`,
    ],
  );
}

function checkedUrl(text: string, source: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw usageError(`${source}: "${text}" is not a URL`, 'Give one such as http://127.0.0.1:7701.');
  }
  return text.replace(/\/+$/, '');
}
