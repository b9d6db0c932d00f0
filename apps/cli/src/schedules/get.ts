import { ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
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
import { type ConnectionOptions, connectSchedules, reach, withConnectionOptions } from '../connection.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { requireName } from '../resource-argument.ts';
import { scheduleDetails } from './schedule-details.ts';

/** `carillon schedules get`. */
export function scheduleGetCommand(host: Host): Command {
  const command = new Command('get')
    .description('show a schedule, and what lies ahead of it')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon schedules get payments/production/settle
  $ carillon schedules get settle -p payments -d production -o yaml > settle.yaml
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (text: string, options: ConnectionOptions & ParentOptions & FormatOptions) => {
    const name = requireName(text, 'schedules', defaultParent(host, options));
    const connection = await connectSchedules(host, options);
    const { client, call } = connection;
    const { schedule } = await reach(connection, client.getSchedule({ name }, call));
    if (schedule === undefined) throw new CliError(ExitCode.failed, 'the server answered without a schedule');
    if (options.output !== 'table') {
      host.stdout.write(renderMessage(ScheduleSchema, schedule, options.output));
      return;
    }
    const layout = { style: outputStyle(host), timeZone: host.timeZone, nowMs: host.clock.now() };
    printLines(host, scheduleDetails(schedule, layout));
  });
}
