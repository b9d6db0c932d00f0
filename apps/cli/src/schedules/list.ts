import { create } from '@bufbuild/protobuf';
import type { Schedule } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import {
  type ListSchedulesRequest,
  ListSchedulesResponseSchema,
  type ScheduleService,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command, Option } from 'commander';
import {
  type FormatOptions,
  listParent,
  outputStyle,
  type ParentOptions,
  positiveInteger,
  printLines,
  tableOptions,
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
import { printable } from '../display-text.ts';
import type { Host } from '../host.ts';
import { utcText } from '../instant.ts';
import { renderMessage } from '../output-format.ts';
import { parentName, shortName } from '../resource-argument.ts';
import { type Column, tableLines } from '../table.ts';
import { patternText } from './pattern-text.ts';
import { paintState, stateText } from './schedule-state.ts';

interface ListOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly filter?: string;
  readonly orderBy?: string;
  readonly limit: number;
  readonly deleted?: boolean;
}

const LARGEST_PAGE = 1_000;

/** `carillon schedules list`. */
export function scheduleListCommand(host: Host): Command {
  const command = new Command('list')
    .alias('ls')
    .description('list schedules, of all projects and domains unless told otherwise')
    .option('--filter <expression>', 'only those for which it holds, as in AIP-160')
    .option('--order-by <field>', 'name, create_time or update_time; with " desc" behind it: backwards')
    .addOption(
      new Option('-n, --limit <count>', 'at most so many').argParser(positiveInteger(1_000_000)).default(500),
    )
    .option('--deleted', 'deleted ones too')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon schedules list
  $ carillon schedules list --project payments --filter 'state = PAUSED'
  $ carillon schedules list --filter 'labels.team = "payments" AND task = "settle"' -o json
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (options: ListOptions) => {
    const connection = await connectSchedules(host, options);
    const { schedules, more } = await reach(
      connection,
      listSchedules(connection, options.limit, {
        parent: parentName(listParent(host, options)),
        filter: options.filter ?? '',
        orderBy: options.orderBy ?? '',
        showDeleted: options.deleted ?? false,
      }),
    );
    if (options.output !== 'table') {
      const all = create(ListSchedulesResponseSchema, { schedules });
      host.stdout.write(renderMessage(ListSchedulesResponseSchema, all, options.output));
    } else {
      printLines(host, tableLines(columns(host), schedules, tableOptions(host)));
      if (schedules.length === 0) host.stderr.write('no schedules\n');
    }
    if (more) host.stderr.write(`there are more: these are the first ${schedules.length} (--limit)\n`);
  });
}

/** Reads pages until the limit or the end. */
export async function listSchedules(
  { client, call }: Connection<typeof ScheduleService>,
  limit: number,
  request: Pick<ListSchedulesRequest, 'parent' | 'filter' | 'orderBy' | 'showDeleted'>,
): Promise<{ schedules: Schedule[]; more: boolean }> {
  const schedules: Schedule[] = [];
  // A page's token holds for the page size it was made with.
  const pageSize = Math.min(limit, LARGEST_PAGE);
  let pageToken = '';
  do {
    const page = await client.listSchedules({ ...request, pageSize, pageToken }, call);
    schedules.push(...page.schedules);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && schedules.length < limit);
  return { schedules: schedules.slice(0, limit), more: pageToken !== '' || schedules.length > limit };
}

function columns(host: Host): Column<Schedule>[] {
  const style = outputStyle(host);
  return [
    { title: 'NAME', cell: (schedule) => shortName(schedule.name), flexible: true },
    { title: 'STATE', cell: stateText, paint: (text, schedule) => paintState(style, text, schedule) },
    { title: 'WHEN', cell: ({ spec }) => patternText(spec), flexible: true },
    { title: 'TASK', cell: ({ spec }) => printable(spec?.run?.task ?? ''), flexible: true },
    { title: 'REV', cell: ({ revision }) => String(revision), align: 'right' },
    { title: 'UPDATED', cell: ({ updateTime }) => utcText(updateTime), paint: (text) => style.faint(text) },
  ];
}
