import { create } from '@bufbuild/protobuf';
import type { ScheduleRevision } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { ListScheduleRevisionsResponseSchema } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command, Option } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  type ParentOptions,
  positiveInteger,
  printLines,
  tableOptions,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectSchedules, reach, withConnectionOptions } from '../connection.ts';
import { printable } from '../display-text.ts';
import type { Host } from '../host.ts';
import { utcText } from '../instant.ts';
import { renderMessage } from '../output-format.ts';
import { requireName } from '../resource-argument.ts';
import { type Column, tableLines } from '../table.ts';
import { patternText } from './pattern-text.ts';

interface RevisionsOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly limit: number;
}

const COLUMNS: readonly Column<ScheduleRevision>[] = [
  { title: 'REV', cell: ({ revision }) => String(revision), align: 'right' },
  { title: 'WHEN', cell: ({ spec }) => patternText(spec), flexible: true },
  { title: 'TASK', cell: ({ spec }) => printable(spec?.run?.task ?? ''), flexible: true },
  { title: 'BY', cell: ({ actor }) => printable(actor), flexible: true },
  { title: 'CREATED', cell: ({ createTime }) => utcText(createTime) },
];

/** `carillon schedules revisions`. */
export function scheduleRevisionsCommand(host: Host): Command {
  const command = new Command('revisions')
    .description('list the revisions of a schedule, the newest first')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .addOption(
      new Option('-n, --limit <count>', 'at most so many').argParser(positiveInteger(1_000)).default(50),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ carillon schedules revisions payments/production/settle
  $ carillon schedules revisions payments/production/settle -o yaml
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (text: string, options: RevisionsOptions) => {
    const name = requireName(text, 'schedules', defaultParent(host, options));
    const connection = await connectSchedules(host, options);
    const { client, call } = connection;
    const page = await reach(
      connection,
      client.listScheduleRevisions({ name, pageSize: options.limit }, call),
    );
    if (options.output === 'table') {
      printLines(host, tableLines(COLUMNS, page.revisions, tableOptions(host)));
    } else {
      const all = create(ListScheduleRevisionsResponseSchema, { revisions: page.revisions });
      host.stdout.write(renderMessage(ListScheduleRevisionsResponseSchema, all, options.output));
    }
    if (page.nextPageToken !== '')
      host.stderr.write(`there are more: these are the newest ${options.limit} (--limit)\n`);
  });
}
