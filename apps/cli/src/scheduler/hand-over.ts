import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import {
  type HandOverResponse,
  HandOverResponseSchema,
  type Replica,
  ReplicaState,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Command, Option } from 'commander';
import {
  durationOption,
  type FormatOptions,
  outputStyle,
  printLines,
  withFormatOption,
} from '../command-options.ts';
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
    .description('have a scheduler that leads hand over to others, and say how long nobody led')
    .option('--force', 'even if no replica is known to be ready')
    .addOption(
      new Option('--wait <duration>', 'how long to wait for another to lead, at most 50s')
        .argParser(durationOption)
        .default(DEFAULT_WAIT_MS, '10s'),
    )
    .addHelpText(
      'after',
      `
Whichever replica is asked, the one that leads hands over, with every shard that it leads; if several lead, the one that is asked.
docs/blue-green.md has the whole procedure.

Examples:
  $ carillon scheduler status
  $ carillon scheduler handover
  $ carillon scheduler handover --scheduler-server http://10.0.3.7:7702
`,
    );
  withConnectionOptions(withFormatOption(command), 'scheduler');
  return command.action(async (options: HandOverOptions) => {
    const asked = await connectScheduler(host, options);
    const { replicas, replica } = await reach(asked, asked.client.getStatus({}, asked.call));
    const leading = replicas.filter(({ state }) => state === ReplicaState.LEADING);
    const leader = leading.find(({ instance }) => instance === replica?.instance) ?? leading[0];
    if (leading.length > 1 && leader?.instance !== replica?.instance)
      throw new CliError(ExitCode.conflict, 'several replicas lead: say which is to hand over', [
        ...leading.map(({ url }) => `carillon scheduler handover --scheduler-server ${printable(url)}`),
      ]);
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
    if (options.output === 'table') printLines(host, sentences(host, leader, response));
    else host.stdout.write(renderMessage(HandOverResponseSchema, response, options.output));
  });
}

/** A line for each shard; with one, nobody needs its name. */
function sentences(host: Host, before: Replica, response: HandOverResponse): string[] {
  const { shards } = response;
  if (shards.length <= 1) return [sentence(host, before, response, '')];
  return shards.map((shard) => sentence(host, before, shard, `${printable(shard.shard)}: `));
}

function sentence(
  host: Host,
  before: Replica,
  { leader, epoch, gap }: Pick<HandOverResponse, 'leader' | 'epoch'> & Partial<Pick<HandOverResponse, 'gap'>>,
  shard: string,
): string {
  const style = outputStyle(host);
  const length = gap ? `; nobody led for ${Math.round(durationMs(gap))} ms` : '';
  return `${style.good('●')} ${shard}${printable(leader)} leads now, with epoch ${epoch}, after ${printable(before.instance)}${length}`;
}
