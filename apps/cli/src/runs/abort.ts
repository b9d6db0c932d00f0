import { RunSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Command } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  outputStyle,
  type ParentOptions,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectRuns, reach, withConnectionOptions } from '../connection.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { requireName, shortName } from '../resource-argument.ts';
import { isTerminal, paintPhase, phaseText } from './run-phase.ts';

interface AbortOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly reason?: string;
}

/** `carillon runs abort`. */
export function runAbortCommand(host: Host): Command {
  const command = new Command('abort')
    .description('ask for a run to be stopped')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .option('--reason <text>', 'why, for those who wonder later')
    .addHelpText(
      'after',
      `
A queued run is aborted at once, a running one when its worker says so: "runs watch NAME" waits.

Examples:
  $ carillon runs abort payments/production/r3k5vq2mtwdsi6n7hb4xeopjzya --reason "wrong ledger"
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'runs');
  return command.action(async (text: string, options: AbortOptions) => {
    const name = requireName(text, 'runs', defaultParent(host, options));
    const connection = await connectRuns(host, options);
    const { client, call } = connection;
    const { run } = await reach(connection, client.abortRun({ name, reason: options.reason ?? '' }, call));
    if (run === undefined) throw new CliError(ExitCode.failed, 'the server answered without a run');
    if (options.output !== 'table') {
      host.stdout.write(renderMessage(RunSchema, run, options.output));
      return;
    }
    const state = paintPhase(outputStyle(host), phaseText(run.phase), run.phase);
    const note = isTerminal(run) ? '' : ', and was asked to stop';
    host.stdout.write(`${shortName(run.name)}  ${state}${note}\n`);
  });
}
