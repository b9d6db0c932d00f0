import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import {
  NominalTimeRangeSchema,
  NominalTimesSchema,
  type RedriveSlotsRequestSchema,
  RedriveSlotsResponseSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  type ParentOptions,
  printLines,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectSchedules, reach, withConnectionOptions } from '../connection.ts';
import { usageError } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { parseInstant, utcText } from '../instant.ts';
import { renderMessage } from '../output-format.ts';
import { requireName } from '../resource-argument.ts';
import { slotTime } from './slot-time.ts';

interface RedriveOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly at?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly dryRun?: boolean;
}

/** `carillon schedules redrive`. */
export function scheduleRedriveCommand(host: Host): Command {
  const command = new Command('redrive')
    .description('send dead slots again, under their own run names and whatever their age')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .option(
      '--at <time>',
      "a dead slot: RFC 3339, or a time of day such as 09:00 in the schedule's zone; may be repeated",
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option('--from <time>', 'all dead slots from this instant on: RFC 3339, -2h')
    .option('--to <time>', 'all dead slots up to this instant (default: now)')
    .option('--dry-run', 'say which slots would be sent, and send none')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon schedules redrive payments/production/settle --at 09:00
  $ carillon schedules redrive settle -p payments -d production --from -1d --dry-run
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (text: string, options: RedriveOptions) => {
    const { at, from, to, dryRun = false } = options;
    const hasRange = from !== undefined || to !== undefined;
    if ((at !== undefined) === hasRange) {
      throw usageError('which slots are to be sent again? Give --at, or --from and --to');
    }
    const name = requireName(text, 'schedules', defaultParent(host, options));
    const connection = await connectSchedules(host, options);
    const nowMs = host.clock.now();
    const response = await reach(
      connection,
      (async () => {
        const selection =
          at === undefined
            ? rangeOf(from, to, nowMs)
            : timesOf(await Promise.all(at.map((one) => slotTime(one, '--at', { name, connection }, nowMs))));
        return await connection.client.redriveSlots({ name, dryRun, selection }, connection.call);
      })(),
    );
    if (options.output !== 'table') {
      host.stdout.write(renderMessage(RedriveSlotsResponseSchema, response, options.output));
      return;
    }
    const { nominalTimes, truncated } = response;
    if (nominalTimes.length === 0) {
      host.stdout.write('no dead slots\n');
      return;
    }
    const count = `${nominalTimes.length} dead slot${nominalTimes.length === 1 ? '' : 's'}`;
    printLines(host, [
      `${count} ${dryRun ? 'would be' : 'will be'} sent again${dryRun ? ' (dry run: none is)' : ''}`,
      ...nominalTimes.map((time) => `  ${utcText(time)}`),
    ]);
    if (truncated) {
      host.stderr.write(
        `there are more: go on with --from ${utcText(nominalTimes.at(-1)).replace(' ', 'T')}\n`,
      );
    }
  });
}

type Selection = NonNullable<MessageInitShape<typeof RedriveSlotsRequestSchema>['selection']>;

function timesOf(nominalTimes: Timestamp[]): Selection {
  return { case: 'times', value: create(NominalTimesSchema, { nominalTimes }) };
}

function rangeOf(from: string | undefined, to: string | undefined, nowMs: number): Selection {
  const value = create(NominalTimeRangeSchema);
  if (from !== undefined) value.fromTime = parseInstant(from, '--from', nowMs);
  if (to !== undefined) value.toTime = parseInstant(to, '--to', nowMs);
  return { case: 'range', value };
}
