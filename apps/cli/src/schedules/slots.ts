import { create } from '@bufbuild/protobuf';
import { durationMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import {
  ListSlotsResponseSchema,
  type ScheduleService,
  type Slot,
  SlotOutcome,
  SlotOutcomeSchema,
  type UnreadableSpan,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command, InvalidArgumentError, Option } from 'commander';
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
import {
  type Connection,
  type ConnectionOptions,
  connectSchedules,
  reach,
  withConnectionOptions,
} from '../connection.ts';
import { printable } from '../display-text.ts';
import { roughDuration } from '../duration.ts';
import type { Host } from '../host.ts';
import { parseInstant, utcText } from '../instant.ts';
import { renderMessage } from '../output-format.ts';
import { lastSegment, requireName } from '../resource-argument.ts';
import type { Style } from '../style.ts';
import { type Column, tableLines } from '../table.ts';
import { localColumn } from './local-column.ts';
import { unreadableText } from './unreadable-text.ts';

interface SlotsOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly from?: string;
  readonly to?: string;
  readonly outcome?: readonly SlotOutcome[];
  readonly limit: number;
}

/** Which slots are listed. */
interface AskedSlots {
  readonly name: string;
  readonly outcomes: SlotOutcome[];
  readonly fromTime?: Timestamp;
  readonly toTime?: Timestamp;
}

const LARGEST_PAGE = 1_000;
const OUTCOME_WORDS: ReadonlyMap<string, SlotOutcome> = new Map([
  ['pending', SlotOutcome.PENDING],
  ['fired', SlotOutcome.FIRED],
  ['skipped', SlotOutcome.SKIPPED],
  ['missed', SlotOutcome.MISSED],
  ['dead', SlotOutcome.DEAD],
  ['unknown', SlotOutcome.UNKNOWN],
]);
const KNOWN_OUTCOMES = [...OUTCOME_WORDS.keys()].join(', ');

/** `carillon schedules slots`. */
export function scheduleSlotsCommand(host: Host): Command {
  const command = new Command('slots')
    .description('list the slots of a schedule with what became of each, the newest first')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .option(
      '--from <time>',
      'slots from this instant on: RFC 3339, "now", -2h (default: since it was activated)',
    )
    .option('--to <time>', 'slots up to this instant (default: now)')
    .addOption(new Option('--outcome <outcomes>', `only these: ${KNOWN_OUTCOMES}`).argParser(outcomesOf))
    .addOption(
      new Option('-n, --limit <count>', 'at most so many').argParser(positiveInteger(100_000)).default(50),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ carillon schedules slots payments/production/settle
  $ carillon schedules slots settle -p payments -d production --from -1d --outcome dead,missed
  $ carillon schedules slots settle --from 2026-11-21 --to 2026-11-22 -o json
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (text: string, options: SlotsOptions) => {
    const name = requireName(text, 'schedules', defaultParent(host, options));
    const nowMs = host.clock.now();
    const { from, to, outcome = [] } = options;
    const connection = await connectSchedules(host, options);
    const { slots, unreadableSpans, more } = await reach(
      connection,
      listSlots(connection, options.limit, {
        name,
        outcomes: [...outcome],
        ...(from === undefined ? {} : { fromTime: parseInstant(from, '--from', nowMs) }),
        ...(to === undefined ? {} : { toTime: parseInstant(to, '--to', nowMs) }),
      }),
    );
    if (options.output === 'table') {
      printLines(host, tableLines(columns(outputStyle(host), slots), slots, tableOptions(host)));
      if (slots.length === 0) host.stderr.write('no slots\n');
    } else {
      const all = create(ListSlotsResponseSchema, { slots, unreadableSpans });
      host.stdout.write(renderMessage(ListSlotsResponseSchema, all, options.output));
    }
    for (const span of unreadableSpans) host.stderr.write(`${unreadableText(span)}\n`);
    if (more) host.stderr.write(`there are more: these are the newest ${slots.length} (--limit)\n`);
  });
}

/** Reads pages until the limit or the end; a page may be empty, and others follow it. */
async function listSlots(
  { client, call }: Connection<typeof ScheduleService>,
  limit: number,
  request: AskedSlots,
): Promise<{ slots: Slot[]; unreadableSpans: UnreadableSpan[]; more: boolean }> {
  const slots: Slot[] = [];
  const unreadableSpans: UnreadableSpan[] = [];
  // A page's token holds for the page size it was made with.
  const pageSize = Math.min(limit, LARGEST_PAGE);
  let pageToken = '';
  do {
    const page = await client.listSlots({ ...request, pageSize, pageToken }, call);
    slots.push(...page.slots);
    unreadableSpans.push(...page.unreadableSpans);
    pageToken = page.nextPageToken;
  } while (pageToken !== '' && slots.length < limit);
  return { slots: slots.slice(0, limit), unreadableSpans, more: pageToken !== '' || slots.length > limit };
}

function outcomesOf(text: string): SlotOutcome[] {
  return text.split(',').map((word) => {
    const outcome = OUTCOME_WORDS.get(word.trim().toLowerCase());
    if (outcome === undefined) throw new InvalidArgumentError(`Give some of ${KNOWN_OUTCOMES}.`);
    return outcome;
  });
}

function columns(style: Style, slots: readonly Slot[]): Column<Slot>[] {
  return [
    { title: 'UTC', cell: ({ nominalTime }) => utcText(nominalTime) },
    ...localColumn(slots),
    { title: 'OUTCOME', cell: outcomeText, paint: (text, slot) => paintOutcome(style, text, slot.outcome) },
    {
      title: 'LATE',
      cell: ({ lateness }) => (lateness === undefined ? '' : roughDuration(durationMs(lateness))),
      align: 'right',
    },
    { title: 'RUN', cell: ({ run }) => lastSegment(printable(run)) },
    { title: 'WHY', cell: whyText, flexible: true },
  ];
}

function outcomeText({ outcome, redriveTime }: Slot): string {
  const word = SlotOutcomeSchema.value[outcome]?.localName.toLowerCase() ?? `outcome ${outcome}`;
  return redriveTime === undefined ? word : `${word}, redriven`;
}

function whyText({ reason, message, pause }: Slot): string {
  const said = pause === undefined || pause.reason === '' ? message : pause.reason;
  return printable([reason, said].filter((part) => part !== '').join(': '));
}

function paintOutcome(style: Style, text: string, outcome: SlotOutcome): string {
  switch (outcome) {
    case SlotOutcome.FIRED:
      return style.good(text);
    case SlotOutcome.MISSED:
    case SlotOutcome.DEAD:
      return style.bad(text);
    case SlotOutcome.SKIPPED:
      return style.warn(text);
    default:
      return style.faint(text);
  }
}
