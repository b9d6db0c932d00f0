import { toJson } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ScheduleService,
  type Slot,
  SlotSchema,
  type UnreadableSpan,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Command } from 'commander';
import {
  defaultParent,
  type FormatOptions,
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
import { utcText } from '../instant.ts';
import { renderJson } from '../output-format.ts';
import { requireName, shortName } from '../resource-argument.ts';
import { slotSentence, whenText } from './slot-sentence.ts';
import { slotTime } from './slot-time.ts';
import { unreadableText } from './unreadable-text.ts';

interface ExplainOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly at?: string;
}

/** Why a schedule ran at a time, or did not. */
interface Explanation {
  readonly sentence: string;
  /** The slot it speaks of; undefined if that time is none. */
  readonly slot: Slot | undefined;
  /** The slots before and after a time that is none. */
  readonly nearest: readonly Slot[];
}

/** A slot that was found, and what could not be read on the way. */
interface FoundSlot {
  readonly slot: Slot | undefined;
  readonly unreadable: readonly UnreadableSpan[];
}

/** Where a single slot is looked for. */
interface OneSlot {
  readonly fromTime?: Timestamp;
  readonly toTime?: Timestamp;
  readonly orderBy?: string;
}

/** The end of what slots are computed for. */
const FOR_EVER = timestampFromMs(7_258_118_399_000);

/** `carillon schedules explain`. */
export function scheduleExplainCommand(host: Host): Command {
  const command = new Command('explain')
    .description('say why a schedule ran at a time, or did not')
    .argument('<name>', 'NAME, PROJECT/DOMAIN/NAME, or the resource name')
    .option(
      '--at <time>',
      "the time of a slot: RFC 3339, -30m, or a time of day such as 09:00 in the schedule's zone (default: the last slot)",
    )
    .addHelpText(
      'after',
      `
Examples:
  $ carillon schedules explain payments/production/settle
  $ carillon schedules explain payments/production/settle --at 09:00
  $ carillon schedules explain settle -p payments -d production --at 2026-11-21T08:00:00Z -o json
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (text: string, options: ExplainOptions) => {
    const name = requireName(text, 'schedules', defaultParent(host, options));
    const connection = await connectSchedules(host, options);
    const { sentence, slot, nearest } = await reach(
      connection,
      explain(connection, name, options.at, host.clock.now()),
    );
    if (options.output === 'table') {
      host.stdout.write(`${sentence}\n`);
      return;
    }
    const json = {
      explanation: sentence,
      ...(slot === undefined
        ? { nearest: nearest.map((one) => toJson(SlotSchema, one)) }
        : { slot: toJson(SlotSchema, slot) }),
    };
    host.stdout.write(renderJson(json, options.output));
  });
}

async function explain(
  connection: Connection<typeof ScheduleService>,
  name: string,
  at: string | undefined,
  nowMs: number,
): Promise<Explanation> {
  const { client, call } = connection;
  const oneSlot = async (request: OneSlot): Promise<FoundSlot> => {
    const { slots, unreadableSpans } = await client.listSlots({ ...request, name, pageSize: 1 }, call);
    return { slot: slots[0], unreadable: unreadableSpans };
  };

  const time = at === undefined ? undefined : await slotTime(at, '--at', { name, connection }, nowMs);
  const { slot, unreadable } = await oneSlot(time === undefined ? {} : { fromTime: time, toTime: time });
  const gaps = unreadable.map((span) => ` But ${unreadableText(span)}.`).join('');
  if (slot !== undefined) return { sentence: `${slotSentence(slot, nowMs)}${gaps}`, slot, nearest: [] };
  const { slot: before } = time === undefined ? { slot: undefined } : await oneSlot({ toTime: time });
  const { slot: after } = await oneSlot({
    ...(time === undefined ? {} : { fromTime: time }),
    toTime: FOR_EVER,
    orderBy: 'nominal_time',
  });
  const [gap] = unreadable;
  return {
    sentence:
      gap === undefined
        ? noSlotSentence(shortName(name), time, before, after, nowMs)
        : unreadableSentence(shortName(name), time, gap, nowMs),
    slot: undefined,
    nearest: [before, after].filter((one) => one !== undefined),
  };
}

function unreadableSentence(
  name: string,
  time: Timestamp | undefined,
  gap: UnreadableSpan,
  nowMs: number,
): string {
  const what =
    time === undefined
      ? `What the last slot of ${name} was`
      : `Whether ${whenText(time, 'UTC', nowMs)} is a slot of ${name}`;
  return `${what} cannot be told: ${unreadableText(gap)}.`;
}

function noSlotSentence(
  name: string,
  time: Timestamp | undefined,
  before: Slot | undefined,
  after: Slot | undefined,
  nowMs: number,
): string {
  const textOf = (slot: Slot): string => whenText(slot.nominalTime, slot.timeZone, nowMs);
  if (time === undefined) {
    return after === undefined
      ? `${name} has had no slot, and has none ahead: it was never active, or its spec allows none.`
      : `${name} has had no slot yet. The first is ${textOf(after)}.`;
  }
  const zone = (before ?? after)?.timeZone;
  const given = zone === undefined ? utcText(time) : whenText(time, zone, nowMs);
  const parts = [
    ...(before === undefined ? [] : [`the one before is ${textOf(before)}`]),
    ...(after === undefined ? [] : [`the one after is ${textOf(after)}`]),
  ];
  const nearest = parts.length === 0 ? 'it has none at all' : parts.join(', and ');
  return `${given} is no slot of ${name}: ${nearest}.`;
}
