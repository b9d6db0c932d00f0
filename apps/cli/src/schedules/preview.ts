import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { ScheduleSpec } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import {
  DstEffect,
  type PreviewedSlot,
  PreviewScheduleResponseSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command, Option } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  outputStyle,
  type ParentOptions,
  positiveInteger,
  printLines,
  tableOptions,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectSchedules, withConnectionOptions } from '../connection.ts';
import { printable } from '../display-text.ts';
import { roughDuration } from '../duration.ts';
import { usageError } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { parseInstant, utcText } from '../instant.ts';
import { renderMessage } from '../output-format.ts';
import { requireName } from '../resource-argument.ts';
import { type Column, tableLines } from '../table.ts';
import { localColumn } from './local-column.ts';
import { type Month, monthBounds, monthLines, parseMonth } from './month-view.ts';
import { previewBatch } from './preview-batch.ts';
import { localPreview, type PreviewSource, serverPreview } from './preview-source.ts';
import { type SpecOptions, specOf, withSpecOptions } from './spec-options.ts';

interface PreviewOptions extends ConnectionOptions, ParentOptions, FormatOptions, SpecOptions {
  readonly from?: string;
  readonly to?: string;
  readonly count: number;
  readonly month?: Month | true;
  readonly excluded: boolean;
  readonly batch?: boolean;
}

const LARGEST_PAGE = 1_000;
/** A month view says "at least" beyond so many slots. */
const LARGEST_MONTH = 20_000;

/** `carillon schedules preview`. */
export function schedulePreviewCommand(host: Host): Command {
  const command = new Command('preview')
    .description('show the next slots of a schedule, or of a spec that exists nowhere yet')
    .argument(
      '[name]',
      'NAME, PROJECT/DOMAIN/NAME, or the resource name; or none, and a spec by the options below',
    )
    .option('--from <time>', 'slots after this instant: RFC 3339, "now", +2h, -30m', 'now')
    .option('--to <time>', 'slots up to this instant')
    .addOption(
      new Option('-n, --count <count>', 'at most so many')
        .argParser(positiveInteger(LARGEST_PAGE))
        .default(10),
    )
    .addOption(
      new Option('--month [yyyy-mm]', 'a month as a calendar (default: this one)').argParser(parseMonth),
    )
    .option('--no-excluded', 'leave out what exclusion calendars take away, instead of marking it')
    .option('--batch', 'JSON lines in, JSON lines out, computed here without a server');
  withSpecOptions(command);
  command.addHelpText(
    'after',
    `
Examples:
  $ carillon schedules preview payments/production/settle
  $ carillon schedules preview --cron "30 2 * * *" --time-zone Europe/Berlin --from 2026-03-28 -n 4
  $ carillon schedules preview --cron "0 9 L * *" --month 2026-12
  $ carillon schedules preview --batch < libs/core/vectors/hand-made.jsonl

A line of --batch: {"id", "dialect", "expression", "timezone", "after", "count", "dstGap", "dstOverlap"};
its answer: {"id", "next": [...]} or {"id", "error"}.
`,
  );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (text: string | undefined, options: PreviewOptions) => {
    if (options.batch === true) {
      await previewBatch(host);
      return;
    }
    const spec = specOf(options, host.clock.now());
    if ((text === undefined) === (spec === undefined)) {
      throw usageError('what is to be previewed? Give a name, or one of --cron, --every and --at');
    }
    const preview = await sourceOf(host, text, spec, options);
    if (options.month !== undefined) await showMonth(host, preview, options.month, options.excluded);
    else await showSlots(host, preview, options);
  });
}

async function sourceOf(
  host: Host,
  text: string | undefined,
  spec: ScheduleSpec | undefined,
  options: PreviewOptions,
): Promise<PreviewSource> {
  if (spec !== undefined) return localPreview(spec, host.clock.now());
  const name = requireName(text ?? '', 'schedules', defaultParent(host, options));
  return serverPreview(await connectSchedules(host, options), name);
}

async function showSlots(host: Host, source: PreviewSource, options: PreviewOptions): Promise<void> {
  const nowMs = host.clock.now();
  const preview = await source({
    from: parseInstant(options.from ?? 'now', '--from', nowMs),
    to: options.to === undefined ? undefined : parseInstant(options.to, '--to', nowMs),
    count: options.count,
    showExcluded: options.excluded,
  });
  if (options.output !== 'table') {
    host.stdout.write(renderMessage(PreviewScheduleResponseSchema, preview, options.output));
    return;
  }
  printLines(host, [outputStyle(host).strong(printable(preview.recurrence)), '']);
  printLines(host, tableLines(columns(host, nowMs, preview.slots), preview.slots, tableOptions(host)));
  if (preview.slots.length === 0) host.stdout.write('no slots\n');
}

async function showMonth(
  host: Host,
  source: PreviewSource,
  given: Month | true,
  showExcluded: boolean,
): Promise<void> {
  const month = given === true ? monthOf(host.clock.now()) : given;
  const { from, to } = monthBounds(month);
  const slots: PreviewedSlot[] = [];
  let preview = create(PreviewScheduleResponseSchema);
  let after: Timestamp = from;
  do {
    preview = await source({ from: after, to, count: LARGEST_PAGE, showExcluded });
    slots.push(...preview.slots);
    after = preview.slots.at(-1)?.nominalTime ?? to;
  } while (preview.truncated && slots.length < LARGEST_MONTH);
  printLines(host, monthLines(month, slots, printable(preview.recurrence), outputStyle(host)));
  if (preview.truncated) host.stdout.write(`and more: shown are the first ${slots.length} slots\n`);
}

function monthOf(nowMs: number): Month {
  const now = new Date(nowMs);
  return { year: now.getUTCFullYear(), month: now.getUTCMonth() + 1 };
}

function columns(host: Host, nowMs: number, slots: readonly PreviewedSlot[]): Column<PreviewedSlot>[] {
  const style = outputStyle(host);
  const jittered = slots.some(({ nominalTime, dueTime }) => msOf(nominalTime) !== msOf(dueTime));
  const shifted = slots.some(({ dstEffect }) => dstEffect !== DstEffect.UNSPECIFIED);
  return [
    { title: 'UTC', cell: ({ nominalTime }) => utcText(nominalTime) },
    ...localColumn(slots),
    ...(jittered
      ? [
          {
            title: 'DUE',
            cell: (slot: PreviewedSlot) =>
              slot.excludedBy === '' ? `+${roughDuration(msOf(slot.dueTime) - msOf(slot.nominalTime))}` : '',
          },
        ]
      : []),
    {
      title: 'IN',
      cell: ({ nominalTime }) =>
        msOf(nominalTime) < nowMs ? 'past' : roughDuration(msOf(nominalTime) - nowMs),
      align: 'right',
      paint: (text) => style.faint(text),
    },
    ...(shifted
      ? [
          {
            title: 'CLOCK CHANGE',
            cell: (slot: PreviewedSlot) => dstText(slot.dstEffect),
            paint: (text: string) => style.warn(text),
          },
        ]
      : []),
    ...(slots.some(({ excludedBy }) => excludedBy !== '')
      ? [
          {
            title: 'EXCLUDED BY',
            cell: ({ excludedBy }: PreviewedSlot) => printable(excludedBy),
            paint: (text: string) => style.warn(text),
          },
        ]
      : []),
  ];
}

function msOf(time: Timestamp | undefined): number {
  return time === undefined ? 0 : timestampMs(time);
}

function dstText(effect: DstEffect): string {
  switch (effect) {
    case DstEffect.MOVED:
      return 'moved: its time is skipped';
    case DstEffect.FIRST_OF_TWO:
      return 'first of two';
    case DstEffect.SECOND_OF_TWO:
      return 'second of two';
    default:
      return '';
  }
}
