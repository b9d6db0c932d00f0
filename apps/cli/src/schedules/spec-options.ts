import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  type CronDialect,
  CronDialectSchema,
  CronSchema,
  type DstGap,
  DstGapSchema,
  type DstOverlap,
  DstOverlapSchema,
  RateSchema,
  type ScheduleSpec,
  ScheduleSpecSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { durationOption } from '../command-options.ts';
import { usageError } from '../exit-code.ts';
import { parseInstant } from '../instant.ts';

/** A spec by options. */
export interface SpecOptions {
  readonly cron?: string;
  readonly dialect?: CronDialect;
  readonly timeZone?: string;
  readonly dstGap?: DstGap;
  readonly dstOverlap?: DstOverlap;
  readonly every?: number;
  readonly at?: string;
  readonly start?: string;
  readonly end?: string;
  readonly jitter?: number;
}

/** Adds them. */
export function withSpecOptions(command: Command): Command {
  return command
    .option('--cron <expression>', 'a cron expression')
    .addOption(wordOption('--dialect <dialect>', 'how it is read', CronDialectSchema))
    .option('--time-zone <zone>', 'the zone whose wall clock it means (default: UTC)')
    .addOption(wordOption('--dst-gap <policy>', 'times that a change of the clock skips', DstGapSchema))
    .addOption(
      wordOption('--dst-overlap <policy>', 'times that a change of the clock repeats', DstOverlapSchema),
    )
    .addOption(new Option('--every <duration>', 'a fixed rate, such as 90s or 2h').argParser(durationOption))
    .option('--at <time>', 'a single instant')
    .option('--start <time>', 'no slot before it; the anchor of a rate')
    .option('--end <time>', 'no slot after it')
    .addOption(new Option('--jitter <duration>', 'the greatest jitter').argParser(durationOption));
}

/** The spec; undefined if no option gives a pattern. Its task is a placeholder: previews run nothing. */
export function specOf(options: SpecOptions, nowMs: number): ScheduleSpec | undefined {
  const given = [options.cron, options.every, options.at].filter((value) => value !== undefined).length;
  if (given > 1) throw usageError('only one of --cron, --every and --at may be given');
  const pattern = patternOf(options, nowMs);
  if (pattern === undefined) return undefined;
  return create(ScheduleSpecSchema, {
    pattern,
    ...(options.start === undefined ? {} : { startTime: parseInstant(options.start, '--start', nowMs) }),
    ...(options.end === undefined ? {} : { endTime: parseInstant(options.end, '--end', nowMs) }),
    ...(options.jitter === undefined ? {} : { jitter: durationFromMs(options.jitter) }),
    run: { task: 'preview' },
  });
}

function patternOf(options: SpecOptions, nowMs: number): ScheduleSpec['pattern'] | undefined {
  if (options.cron !== undefined) {
    const { cron: expression, dialect = 0, timeZone = '', dstGap = 0, dstOverlap = 0 } = options;
    return { case: 'cron', value: create(CronSchema, { expression, dialect, timeZone, dstGap, dstOverlap }) };
  }
  if (options.every !== undefined) {
    return { case: 'rate', value: create(RateSchema, { interval: durationFromMs(options.every) }) };
  }
  if (options.at !== undefined) return { case: 'at', value: parseInstant(options.at, '--at', nowMs) };
  return undefined;
}

interface Words {
  readonly values: readonly { readonly localName: string; readonly number: number }[];
}

function wordOption(flags: string, description: string, { values }: Words): Option {
  const known = values.filter(({ number }) => number !== 0);
  const words = known.map(({ localName }) => localName.toLowerCase().replaceAll('_', '-'));
  return new Option(flags, `${description}: ${words.join(', ')}`).argParser((text) => {
    const wanted = text.toUpperCase().replaceAll('-', '_');
    const found = known.find(({ localName }) => localName === wanted);
    if (found === undefined) throw new InvalidArgumentError(`It is one of ${words.join(', ')}.`);
    return found.number;
  });
}
