import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import {
  type HandOverResponse,
  HandOverResponseSchema,
  type Replica,
  ReplicaState,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Command, Option } from 'commander';
import { durationOption, type FormatOptions, outputStyle, withFormatOption } from '../command-options.ts';
import { type ConnectionOptions, connectScheduler, reach, withConnectionOptions } from '../connection.ts';
import { printable } from '../display-text.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';

interface HandOverOptions extends ConnectionOptions, FormatOptions {
  readonly force?: boolean;
  /** In milliseconds. */
  readonly wait: number;
}

const DEFAULT_WAIT_MS = 10_000;
/** On top of the wait: for writing down what is settled. */
const CALL_MARGIN_MS = 5_000;

/** `carillon scheduler handover`. */
export function schedulerHandOverCommand(host: Host): Command {
  const command = new Command('handover')
    .description('have the scheduler that leads hand over to a standby, and say how long nobody led')
    .option('--force', 'even if no replica is known to be ready')
    .addOption(
      new Option('--wait <duration>', 'how long to wait for another to lead, at most 50s')
        .argParser(durationOption)
        .default(DEFAULT_WAIT_MS, '10s'),
    )
    .addHelpText(
      'after',
      `
Whichever replica is asked, the one that leads hands over. docs/blue-green.md has the whole procedure.

Examples:
  $ carillon scheduler status
  $ carillon scheduler handover
`,
    );
  withConnectionOptions(withFormatOption(command), 'scheduler');
  return command.action(async (options: HandOverOptions) => {
    const asked = await connectScheduler(host, options);
    const { replicas } = await reach(asked, asked.client.getStatus({}, asked.call));
    const leader = replicas.find(({ state }) => state === ReplicaState.LEADING);
    if (!leader)
      throw new CliError(ExitCode.conflict, 'no replica leads at present', [
        'Look again with "scheduler status".',
      ]);
    const connection = await connectScheduler(host, { ...options, schedulerServer: leader.url });
    const response = await reach(
      connection,
      connection.client.handOver(
        { force: options.force ?? false, wait: durationFromMs(options.wait) },
        { ...connection.call, timeoutMs: options.wait + CALL_MARGIN_MS },
      ),
    );
    if (options.output === 'table') host.stdout.write(`${sentence(host, leader, response)}\n`);
    else host.stdout.write(renderMessage(HandOverResponseSchema, response, options.output));
  });
}

function sentence(host: Host, before: Replica, { leader, epoch, gap }: HandOverResponse): string {
  const style = outputStyle(host);
  const length = gap ? `; nobody led for ${Math.round(durationMs(gap))} ms` : '';
  return `${style.good('●')} ${printable(leader)} leads now, with epoch ${epoch}, after ${printable(before.instance)}${length}`;
}
