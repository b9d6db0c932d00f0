import { type ChildProcess, spawn } from 'node:child_process';
import { isAbsolute } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import { type Clock, sleep, type Timer } from '@carillon/core/clock.ts';
import { type TaskContext, TaskError, type TaskHandler, type TaskPayload } from '@carillon/worker';
import { OutputTail } from './output-tail.ts';
import { inputValues, invalidInput, stringMap } from './task-inputs.ts';

/** What commands may be run, and how they are ended. */
export interface RunCommandOptions {
  /** Absolute paths of programs. */
  readonly allowed: readonly string[];
  readonly clock: Clock;
}

const TAIL_BYTES = 8_192;

/** Between SIGTERM and SIGKILL. */
const GRACE_MS = 5_000;

/** After the command's own end, for the last of what it wrote. */
const PIPES_LIMIT_MS = 1_000;

const MAX_ARGUMENTS = 256;

/** Variables that runs may set. Any other, like LD_PRELOAD, could make an allowed program do something else. */
const VARIABLE = /^TASK_[A-Z0-9_]+$/;

/** A command's inputs. */
interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * The task `command`: runs a program, without a shell, if it is on the allow-list. Inputs: `command`, the program's absolute path
 * and its arguments; `env`, variables whose names begin with `TASK_`. All other inputs reach the program as
 * `CARILLON_INPUT_<NAME>`, and the run's name and attempt as `CARILLON_RUN` and `CARILLON_ATTEMPT`; of the worker's own environment
 * it sees nothing. The output holds `exitStatus` or `signal`, the last 8 KiB of `output` and the number of `omittedBytes` before it.
 * Another exit status than 0 fails the attempt. When the attempt shall end, the program and all it has started get SIGTERM, and
 * 5 s later SIGKILL.
 */
export function runCommand({ allowed, clock }: RunCommandOptions): TaskHandler {
  const permitted = new Set(allowed);
  for (const program of permitted) {
    if (!isAbsolute(program)) throw new RangeError(`${program} is not an absolute path`);
  }
  return async (context) => {
    const command = readCommand(context);
    if (!permitted.has(command.program)) {
      throw new TaskError('COMMAND_NOT_ALLOWED', `${command.program} is not on this worker's allow-list`, {
        permanent: true,
      });
    }
    return await execute(command, context, clock);
  };
}

function readCommand({ run }: TaskContext): Command {
  const { command, env, ...inputs } = inputValues(run);
  if (!isStrings(command) || command.length === 0 || command.length > MAX_ARGUMENTS) {
    throw invalidInput('command', `1 to ${MAX_ARGUMENTS} strings: the program and its arguments`);
  }
  const [program = '', ...args] = command;
  if (!isAbsolute(program)) throw invalidInput('command', 'a program by its absolute path');
  const environment: Record<string, string> = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    CARILLON_RUN: run.name,
    CARILLON_ATTEMPT: String(run.attempt),
  };
  for (const [name, value] of Object.entries(inputs)) {
    const variable = `CARILLON_INPUT_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
    environment[variable] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  for (const [name, value] of stringMap('env', env)) {
    if (!VARIABLE.test(name)) throw invalidInput(`env.${name}`, 'a name that begins with TASK_, in capitals');
    environment[name] = value;
  }
  for (const text of [...command, ...Object.values(environment)]) {
    if (text.includes('\0')) throw invalidInput('command', 'free of NUL, as are all inputs of a command');
  }
  return { program, args, environment };
}

function isStrings(value: JsonValue | undefined): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

async function execute(command: Command, { signal }: TaskContext, clock: Clock): Promise<TaskPayload> {
  signal.throwIfAborted();
  const tail = new OutputTail(TAIL_BYTES);
  const child = spawn(command.program, command.args, {
    env: command.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, so that whatever it starts ends with it.
    detached: true,
  });
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => tail.push(chunk));
  let kill: Timer | undefined;
  const stop = (): void => {
    killGroup(child, 'SIGTERM');
    kill = clock.after(GRACE_MS, () => killGroup(child, 'SIGKILL'));
  };
  signal.addEventListener('abort', stop, { once: true });
  const exit = await exited(child).finally(() => {
    signal.removeEventListener('abort', stop);
    kill?.cancel();
  });
  // What it has left running would outlive its run, and keep the pipes open.
  killGroup(child, 'SIGKILL');
  await Promise.race([closed, sleep(clock, PIPES_LIMIT_MS)]);
  child.stdout.destroy();
  child.stderr.destroy();

  const output = { values: { ...exit, output: tail.toString(), omittedBytes: tail.omitted } };
  if (exit.exitStatus === 0) return output;
  const how =
    exit.signal === undefined ? `exited with status ${exit.exitStatus}` : `was ended by ${exit.signal}`;
  throw new TaskError('EXIT_STATUS', `${command.program} ${how}`, { output });
}

/** One of the two. */
type Exit =
  | { readonly exitStatus: number; readonly signal?: never }
  | { readonly signal: string; readonly exitStatus?: never };

function exited(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new TaskError('COMMAND_NOT_STARTED', error.message, { permanent: true, cause: error }));
    });
    // Not "close": that also waits for whoever else has the pipes.
    child.once('exit', (status, signal) =>
      resolve(status === null ? { signal: signal ?? 'unknown' } : { exitStatus: status }),
    );
  });
}

/** Signals the command and whatever it started, unless all of it has ended. */
function killGroup(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, name);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
