import { create } from '@bufbuild/protobuf';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  type ListRunsRequest,
  ListRunsResponseSchema,
  type RunService,
} from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { Command, Option } from 'commander';
import {
  defaultParent,
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
  connectRuns,
  reach,
  withConnectionOptions,
} from '../connection.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { parentName, requireName } from '../resource-argument.ts';
import { tableLines } from '../table.ts';
import { runColumns } from './run-columns.ts';

interface ListOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly schedule?: string;
  readonly phase?: string;
  readonly filter?: string;
  readonly orderBy?: string;
  readonly limit: number;
}

const LARGEST_PAGE = 1_000;

/** `carillon runs list`. */
export function runListCommand(host: Host): Command {
  const command = new Command('list')
    .alias('ls')
    .description('list runs, the newest first, of all projects and domains unless told otherwise')
    .option('--schedule <name>', 'only those of this schedule')
    .option('--phase <phase>', 'only those in this phase, such as failed')
    .option('--filter <expression>', 'only those for which it holds, as in AIP-160')
    .option('--order-by <field>', 'nominal_time or create_time; with " desc" behind it: backwards')
    .addOption(
      new Option('-n, --limit <count>', 'at most so many').argParser(positiveInteger(1_000_000)).default(50),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ carillon runs list
  $ carillon runs list --schedule payments/production/settle --phase failed
  $ carillon runs list --filter 'task = "settle" AND nominal_time >= "2026-11-01T00:00:00Z"' -o json
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'runs');
  return command.action(async (options: ListOptions) => {
    const connection = await connectRuns(host, options);
    const { runs, more } = await reach(
      connection,
      listRuns(connection, options.limit, {
        parent: parentName(listParent(host, options)),
        filter: filterOf(host, options),
        orderBy: options.orderBy ?? '',
      }),
    );
    if (options.output === 'table') {
      printLines(host, tableLines(runColumns(outputStyle(host)), runs, tableOptions(host)));
      if (runs.length === 0) host.stderr.write('no runs\n');
    } else {
      host.stdout.write(
        renderMessage(ListRunsResponseSchema, create(ListRunsResponseSchema, { runs }), options.output),
      );
    }
    if (more) host.stderr.write(`there are more: these are the first ${runs.length} (--limit)\n`);
  });
}

/** Reads pages until the limit or the end. */
export async function listRuns(
  { client, call }: Connection<typeof RunService>,
  limit: number,
  request: Pick<ListRunsRequest, 'parent' | 'filter' | 'orderBy'>,
): Promise<{ runs: Run[]; more: boolean }> {
  const runs: Run[] = [];
  // A page's token holds for the page size it was made with.
  const pageSize = Math.min(limit, LARGEST_PAGE);
  let pageToken = '';
  do {
    const page = await client.listRuns({ ...request, pageSize, pageToken }, call);
    runs.push(...page.runs);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && runs.length < limit);
  return { runs: runs.slice(0, limit), more: pageToken !== '' || runs.length > limit };
}

function filterOf(host: Host, options: ListOptions): string {
  const terms: string[] = [];
  if (options.filter) terms.push(options.filter);
  if (options.schedule !== undefined) {
    terms.push(`schedule = "${requireName(options.schedule, 'schedules', defaultParent(host, options))}"`);
  }
  if (options.phase !== undefined) {
    terms.push(`phase = "${options.phase.toUpperCase().replaceAll(/[^A-Z]/g, '_')}"`);
  }
  return terms.join(' AND ');
}
