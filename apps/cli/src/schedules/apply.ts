import { readFile } from 'node:fs/promises';
import { type JsonObject, toJson } from '@bufbuild/protobuf';
import { type Schedule, ScheduleSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import {
  ScheduleChange,
  ScheduleChangeSchema,
} from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { Command } from 'commander';
import {
  defaultParent,
  type FormatOptions,
  outputStyle,
  type ParentOptions,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectSchedules, reach, withConnectionOptions } from '../connection.ts';
import { pad } from '../display-text.ts';
import { CliError, ExitCode, usageError } from '../exit-code.ts';
import { describeFailure, type Failure } from '../failure.ts';
import type { Host } from '../host.ts';
import { ManifestSource } from '../manifest/manifest-source.ts';
import { readScheduleManifest, type ScheduleManifest } from '../manifest/schedule-manifest.ts';
import { renderJson } from '../output-format.ts';
import { lastSegment, parentName, shortName } from '../resource-argument.ts';
import type { Style } from '../style.ts';
import { patternText } from './pattern-text.ts';

interface ApplyOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly filename: string;
  readonly dryRun?: boolean;
}

/** What applying one schedule did. */
export type AppliedSchedule =
  | { readonly name: string; readonly change: ScheduleChange; readonly schedule: Schedule }
  | { readonly name: string; readonly failure: Failure };

type ScheduleConnection = Awaited<ReturnType<typeof connectSchedules>>;

/** How many schedules are sent at a time: enough to hide the round trip, too few to crowd out others. */
const IN_FLIGHT = 8;

/** `carillon schedules apply`. */
export function scheduleApplyCommand(host: Host): Command {
  const command = new Command('apply')
    .description('create the schedules of a file, or change them to what it says')
    .requiredOption('-f, --filename <file>', 'the YAML file; - for standard input')
    .option('--dry-run', 'check everything on the server, and write nothing')
    .addHelpText(
      'after',
      `
Each schedule is printed with what was done: created, updated or unchanged. What is in the
file already is never written again, so applying is safe to repeat. A file with a mistake in
it is refused as a whole; what the server refuses leaves the other schedules applied.

Examples:
  $ carillon schedules apply -f schedules.yaml
  $ carillon schedules apply -f schedules.yaml --dry-run
  $ carillon schedules get nightly -o yaml | sed s/02:00/03:00/ | carillon schedules apply -f -

A schedule in the file:
  name: payments/production/settle
  cron: "0 18 * * MON-FRI"
  timeZone: Europe/Berlin
  task: settle
  inputs: { ledger: main }
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'schedules');
  return command.action(async (options: ApplyOptions) => {
    const manifests = await readManifests(host, options.filename, options);
    const connection = await connectSchedules(host, options);
    const applied = await applyManifests(connection, manifests, options.dryRun === true);
    const failed = applied.filter((result) => 'failure' in result);
    if (options.output !== 'table') {
      host.stdout.write(renderJson({ results: applied.map(resultJson) }, options.output));
    } else {
      printResults(host, applied, options.dryRun === true);
    }
    if (failed.length > 0) {
      throw new CliError(
        failed.length === 1 ? (failed[0]?.failure.exitCode ?? ExitCode.failed) : ExitCode.failed,
        `${failed.length} of ${applied.length} not applied`,
      );
    }
  });
}

/**
 * Reads every schedule of a file (`-`: of standard input).
 * @throws CliError at the first mistake, and when a name occurs twice or there is none at all.
 */
export async function readManifests(
  host: Host,
  file: string,
  options: ParentOptions,
): Promise<readonly ScheduleManifest[]> {
  const source = new ManifestSource(file === '-' ? 'stdin' : file, await readText(host, file));
  const manifests = source
    .entries()
    .map((entry) => readScheduleManifest(source, entry, defaultParent(host, options)));
  if (manifests.length === 0) throw usageError(`${source.name}: holds no schedule`);
  const places = new Map<string, string>();
  for (const { schedule, place } of manifests) {
    const earlier = places.get(schedule.name);
    if (earlier !== undefined)
      throw usageError(`${place}: ${shortName(schedule.name)} was given before, at ${earlier}`);
    places.set(schedule.name, place);
  }
  return manifests;
}

/** Applies the schedules, a few at a time, and answers what was done in their order. Failures do not stop the others. */
export async function applyManifests(
  connection: ScheduleConnection,
  manifests: readonly ScheduleManifest[],
  dryRun: boolean,
): Promise<AppliedSchedule[]> {
  const results: AppliedSchedule[] = [];
  const waiting = manifests.entries();
  const worker = async (): Promise<void> => {
    for (const [index, manifest] of waiting)
      results[index] = await applyManifest(connection, manifest, dryRun);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return results;
}

/** The word for a change: `created`, `updated` or `unchanged`. */
export function changeText(change: ScheduleChange): string {
  return ScheduleChangeSchema.value[change]?.localName.toLowerCase() ?? `change ${change}`;
}

async function applyManifest(
  connection: ScheduleConnection,
  manifest: ScheduleManifest,
  dryRun: boolean,
): Promise<AppliedSchedule> {
  const { schedule } = manifest;
  try {
    const { change, schedule: after } = await reach(connection, send(connection, manifest, dryRun));
    return { name: schedule.name, change, schedule: after ?? schedule };
  } catch (error) {
    const failure = describeFailure(error, manifest.locate);
    // Nobody answers: neither will it answer for the rest.
    if (failure === undefined || failure.exitCode === ExitCode.unavailable) throw error;
    return { name: schedule.name, failure };
  }
}

async function send(
  { client, call }: ScheduleConnection,
  { schedule, inactive }: ScheduleManifest,
  validateOnly: boolean,
): Promise<{ change: ScheduleChange; schedule?: Schedule | undefined }> {
  if (!inactive) return client.updateSchedule({ schedule, allowMissing: true, validateOnly }, call);
  // Only Create takes `inactive`, and an existing schedule stays as active as it is.
  try {
    return await client.updateSchedule({ schedule, validateOnly }, call);
  } catch (error) {
    if (!(error instanceof ConnectError) || error.code !== Code.NotFound) throw error;
  }
  const [, project = '', , domain = ''] = schedule.name.split('/');
  const { schedule: created } = await client.createSchedule(
    {
      parent: parentName({ project, domain }),
      scheduleId: lastSegment(schedule.name),
      schedule,
      inactive,
      validateOnly,
    },
    call,
  );
  return { change: ScheduleChange.CREATED, schedule: created };
}

async function readText(host: Host, file: string): Promise<string> {
  if (file === '-') {
    let text = '';
    for await (const piece of host.stdin) text += piece;
    return text;
  }
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw usageError(`${file} cannot be read`, error instanceof Error ? error.message : String(error));
  }
}

function printResults(host: Host, applied: readonly AppliedSchedule[], dryRun: boolean): void {
  const style = outputStyle(host);
  const width = Math.max(...applied.map(({ name }) => shortName(name).length));
  for (const result of applied) {
    const name = pad(shortName(result.name), width);
    if ('failure' in result) {
      host.stdout.write(`${style.bad(pad('failed', 9))}  ${name.trimEnd()}\n`);
      for (const line of [result.failure.message, ...result.failure.details])
        host.stderr.write(`  ${line}\n`);
    } else {
      const change = paintChange(style, result.change);
      host.stdout.write(`${change}  ${name}  ${style.faint(patternText(result.schedule.spec))}\n`);
    }
  }
  const counts = [ScheduleChange.CREATED, ScheduleChange.UPDATED, ScheduleChange.UNCHANGED]
    .map((change) => ({
      change,
      count: applied.filter((result) => 'change' in result && result.change === change).length,
    }))
    .filter(({ count }) => count > 0)
    .map(({ change, count }) => `${count} ${changeText(change)}`);
  const failures = applied.filter((result) => 'failure' in result).length;
  if (failures > 0) counts.push(`${failures} failed`);
  host.stdout.write(`${style.strong(counts.join(', '))}${dryRun ? ' (dry run: nothing was written)' : ''}\n`);
}

function paintChange(style: Style, change: ScheduleChange): string {
  const text = pad(changeText(change), 9);
  switch (change) {
    case ScheduleChange.CREATED:
      return style.good(text);
    case ScheduleChange.UPDATED:
      return style.accent(text);
    default:
      return style.faint(text);
  }
}

function resultJson(result: AppliedSchedule): JsonObject {
  return 'failure' in result
    ? { name: result.name, error: { message: result.failure.message, details: [...result.failure.details] } }
    : {
        name: result.name,
        change: changeText(result.change),
        schedule: toJson(ScheduleSchema, result.schedule),
      };
}
