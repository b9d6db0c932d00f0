import { RunSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Command } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  outputStyle,
  type ParentOptions,
  printLines,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectRuns, reach, withConnectionOptions } from '../connection.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { requireName } from '../resource-argument.ts';
import { runDetails } from './run-details.ts';

/** `carillon runs get`. */
export function runGetCommand(host: Host): Command {
  const command = new Command('get')
    .description('show a run, with its inputs and output')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon runs get payments/production/r3k5vq2mtwdsi6n7hb4xeopjzya
  $ carillon runs get hello -o json
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'runs');
  return command.action(async (text: string, options: ConnectionOptions & ParentOptions & FormatOptions) => {
    const name = requireName(text, 'runs', defaultParent(host, options));
    const connection = await connectRuns(host, options);
    const { run } = await reach(connection, connection.client.getRun({ name }, connection.call));
    if (run === undefined) throw new CliError(ExitCode.failed, 'the server answered without a run');
    if (options.output === 'table') printLines(host, runDetails(run, outputStyle(host), host.timeZone));
    else host.stdout.write(renderMessage(RunSchema, run, options.output));
  });
}
