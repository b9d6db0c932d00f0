import { systemClock, systemEntropy } from '@carillon/server/system-clock.ts';
import type { Transport } from '@connectrpc/connect';
import type { ExitCode } from './exit-code.ts';
import type { Host } from './host.ts';
import { runProgram } from './program.ts';

/** What a command line left behind. */
export interface CommandResult {
  readonly exitCode: ExitCode;
  readonly stdout: string;
  readonly stderr: string;
}

/** A host for tests: no terminal, nothing of this machine's environment, and servers in memory. */
export function hostUnderTest(changes: Partial<Host> & { readonly input?: string } = {}): Host & {
  readonly written: { stdout: string; stderr: string };
} {
  const { input = '', ...rest } = changes;
  const written = { stdout: '', stderr: '' };
  const output = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      written[name] += text;
    },
    isTerminal: false,
    size: { columns: 80, rows: 24 },
    onResize: () => () => undefined,
  });
  return {
    stdout: output('stdout'),
    stderr: output('stderr'),
    stdin: stdinOf(input),
    environment: {},
    workingDirectory: '/',
    clock: systemClock,
    entropy: systemEntropy,
    timeZone: 'UTC',
    interrupted: new AbortController().signal,
    interruptedAgain: new AbortController().signal,
    keyboard: undefined,
    pid: 1,
    nodePath: '/nowhere/node',
    kill: () => {
      throw new Error('this test kills nobody');
    },
    connect: () => {
      throw new Error('this test has no server');
    },
    ...rest,
    written,
  };
}

/** Runs a command line against a transport, and answers what it printed. */
export async function runCommandLine(
  commandLine: readonly string[],
  transport?: Transport,
  changes: Parameters<typeof hostUnderTest>[0] = {},
): Promise<CommandResult> {
  const host = hostUnderTest({
    environment: {
      CARILLON_SCHEDULES_URL: 'http://schedules.test',
      CARILLON_RUNS_URL: 'http://runs.test',
      CARILLON_SCHEDULER_URL: 'http://scheduler.test',
    },
    ...(transport === undefined ? {} : { connect: () => transport }),
    ...changes,
  });
  const exitCode = await runProgram(host, commandLine);
  return { exitCode, ...host.written };
}

async function* stdinOf(text: string): AsyncGenerator<string> {
  // In two pieces, as a pipe may give it.
  const middle = Math.floor(text.length / 2);
  yield text.slice(0, middle);
  yield text.slice(middle);
}
