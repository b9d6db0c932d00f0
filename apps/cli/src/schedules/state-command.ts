import { type Schedule, ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import type { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  outputStyle,
  type ParentOptions,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import {
  type Connection,
  type ConnectionOptions,
  connectSchedules,
  reach,
  withConnectionOptions,
} from '../connection.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { requireName, shortName } from '../resource-argument.ts';
import { paintState, stateText } from './schedule-state.ts';

/** The options of every command that changes what a schedule does. */
export interface StateOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly etag?: string;
}

/** A command that changes what a schedule does, by one call that answers the schedule after it. */
export interface StateCommand<Options extends StateOptions> {
  readonly name: string;
  readonly description: string;
  /** Adds options of its own. Default: none. */
  readonly configure?: (command: Command) => Command;
  /** Command lines, one per line. */
  readonly examples: readonly string[];
  /** Makes the call; answers undefined where there was nothing to change and that was allowed. */
  readonly call: (
    connection: Connection<typeof ScheduleService>,
    request: { readonly name: string; readonly etag: string },
    options: Options,
  ) => Promise<Schedule | undefined>;
}

/** Builds such a command: it takes a name and an etag, and prints the schedule's state after the call. */
export function stateCommand<Options extends StateOptions>(
  host: Host,
  definition: StateCommand<Options>,
): Command {
  const command = new Command(definition.name)
    .description(definition.description)
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .option('--etag <etag>', 'only if nobody has changed it since this etag')
    .addHelpText(
      'after',
      `\nExamples:\n${definition.examples.map((example) => `  $ ${example}\n`).join('')}`,
    );
  withConnectionOptions(
    withFormatOption(withParentOptions(definition.configure?.(command) ?? command)),
    'schedules',
  );
  return command.action(async (text: string, options: Options) => {
    const name = requireName(text, 'schedules', defaultParent(host, options));
    const connection = await connectSchedules(host, options);
    const schedule = await reach(
      connection,
      definition.call(connection, { name, etag: options.etag ?? '' }, options),
    );
    if (options.output !== 'table') {
      if (schedule !== undefined) host.stdout.write(renderMessage(ScheduleSchema, schedule, options.output));
      return;
    }
    if (schedule === undefined) {
      host.stdout.write(`${shortName(name)}  does not exist\n`);
      return;
    }
    const style = outputStyle(host);
    const active = schedule.activeRevision === 0 ? '' : `  revision ${schedule.activeRevision}`;
    host.stdout.write(
      `${shortName(schedule.name)}  ${paintState(style, stateText(schedule), schedule)}${style.faint(active)}\n`,
    );
  });
}
