import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { devCommand } from './dev/dev.ts';
import { CliError, ExitCode } from './exit-code.ts';
import { describeFailure, failureLines } from './failure.ts';
import type { Host } from './host.ts';
import { runsCommand } from './runs/index.ts';
import { schedulerCommand } from './scheduler/index.ts';
import { schedulesCommand } from './schedules/index.ts';
import { createStyle, wantsStyle } from './style.ts';

/**
 * Runs a command line (without node and script) and answers the exit code. Failures are printed, never thrown; what is a
 * defect of ours is printed with its stack.
 */
export async function runProgram(host: Host, commandLine: readonly string[]): Promise<ExitCode> {
  const program = createProgram(host);
  try {
    await program.parseAsync([...commandLine], { from: 'user' });
    return ExitCode.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    return report(host, error);
  }
}

/** The whole command tree. */
export function createProgram(host: Host): Command {
  const program = new Command('carillon')
    .description('Schedules that fire exactly once.')
    .addCommand(devCommand(host))
    .addCommand(schedulesCommand(host))
    .addCommand(runsCommand(host))
    .addCommand(schedulerCommand(host))
    .addCommand(
      new Command('version')
        .description('print the version')
        .action(() => host.stdout.write(`${version()}\n`)),
    )
    .version(version(), '-V, --version', 'print the version')
    .addHelpText(
      'after',
      `
Exit codes: 0 done; 1 failed; 2 never valid as it is; 3 not found; 4 conflict; 5 unavailable; 6 denied; 130 interrupted.

Examples:
  $ carillon dev
  $ carillon schedules apply -f schedules.yaml
  $ carillon runs watch
`,
    );
  for (const [command, path] of everyCommand(program)) {
    command
      .exitOverride()
      .helpCommand(false)
      .showHelpAfterError(`  See "${path} --help".`)
      .configureOutput({
        writeOut: (text) => host.stdout.write(text),
        writeErr: (text) => host.stderr.write(text),
        getOutHelpWidth: () => Math.min(host.stdout.size.columns, 110),
        getErrHelpWidth: () => Math.min(host.stderr.size.columns, 110),
      });
  }
  return program;
}

/** A command and all below it, each with the words that call it. */
function everyCommand(command: Command, words = command.name()): (readonly [Command, string])[] {
  const below = command.commands.flatMap((child) =>
    everyCommand(child as Command, `${words} ${child.name()}`),
  );
  return [[command, words], ...below];
}

function report(host: Host, error: unknown): ExitCode {
  const { interrupted } = host;
  if (interrupted.aborted && !(error instanceof CliError)) return ExitCode.interrupted;
  const failure = describeFailure(error);
  if (failure === undefined) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    host.stderr.write(`carillon failed, and this is a defect of its own:\n${text}\n`);
    return ExitCode.failed;
  }
  const [first = '', ...details] = failureLines(failure);
  const style = createStyle(wantsStyle(host.environment, host.stderr.isTerminal));
  host.stderr.write(`${[style.bad(first), ...details].join('\n')}\n`);
  return failure.exitCode;
}

function version(): string {
  const json: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof json === 'object' && json !== null && 'version' in json ? String(json.version) : 'unknown';
}
