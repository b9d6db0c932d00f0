import { toJson } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Run, RunPhase, RunSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Command } from 'commander';
import { stringify } from 'yaml';
import {
  defaultParent,
  type FormatOptions,
  listParent,
  outputStyle,
  type ParentOptions,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectRuns, reach, withConnectionOptions } from '../connection.ts';
import { pad, printable } from '../display-text.ts';
import { CliError, ExitCode } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { clockText } from '../instant.ts';
import type { OutputFormat } from '../output-format.ts';
import { parentName, requireName, shortName } from '../resource-argument.ts';
import type { Style } from '../style.ts';
import { awaitRuns } from './await-runs.ts';
import { tookText } from './run-columns.ts';
import { watchRuns } from './run-feed.ts';
import { paintPhase, phaseGlyph, phaseText } from './run-phase.ts';

interface WatchOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly schedule?: string;
}

/** `carillon runs watch`. */
export function runWatchCommand(host: Host): Command {
  const command = new Command('watch')
    .description('print runs as they change: the named ones to their end, or all until Ctrl-C')
    .argument('[names...]', 'NAME, PROJECT/DOMAIN/NAME, or resource names')
    .option('--schedule <name>', 'only those of this schedule')
    .addHelpText(
      'after',
      `
With names, exits with 0 when all of them succeeded, else with 1. -o json prints one object per line.

Examples:
  $ carillon runs watch
  $ carillon runs watch --schedule payments/production/settle
  $ carillon runs watch payments/production/r3k5vq2mtwdsi6n7hb4xeopjzya && echo settled
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'runs');
  return command.action(async (texts: string[], options: WatchOptions) => {
    const parent = defaultParent(host, options);
    const names = texts.map((text) => requireName(text, 'runs', parent));
    const connection = await connectRuns(host, options);
    const { client, call } = connection;
    const print = (run: Run): void =>
      host.stdout.write(runLine(run, options.output, outputStyle(host), host.timeZone));

    if (names.length > 0) {
      // Watching a name that does not exist would wait for ever.
      await Promise.all(names.map((name) => reach(connection, client.getRun({ name }, call))));
      const runs = await awaitRuns(host, client, names, print);
      const bad = runs.filter(({ phase }) => phase !== RunPhase.SUCCEEDED);
      if (bad.length > 0)
        throw new CliError(ExitCode.failed, `${bad.length} of ${runs.length} did not succeed`);
      return;
    }
    const request = {
      parent: parentName(listParent(host, options)),
      schedule: options.schedule === undefined ? '' : requireName(options.schedule, 'schedules', parent),
      names,
    };
    const { clock, entropy, interrupted: signal } = host;
    const feed = watchRuns(request, {
      client,
      clock,
      entropy,
      signal,
      onConnection: (state) => {
        if (!state.up) host.stderr.write(`lost ${connection.url}, trying again\n`);
      },
    });
    for await (const run of feed) print(run);
  });
}

/** A run's state in a line. */
export function runLine(run: Run, format: OutputFormat, style: Style, timeZone: string): string {
  if (format === 'json') return `${JSON.stringify(toJson(RunSchema, run))}\n`;
  if (format === 'yaml') return `---\n${stringify(toJson(RunSchema, run), { lineWidth: 0 })}`;
  const at = run.endTime ?? run.startTime ?? run.createTime;
  const time = at === undefined ? '' : clockText(timestampMs(at), timeZone);
  const phase = paintPhase(style, `${phaseGlyph(run.phase)} ${pad(phaseText(run.phase), 9)}`, run.phase);
  const notes = [
    tookText(run),
    run.error === undefined ? '' : printable(`${run.error.code}: ${run.error.message}`),
  ];
  const tail = notes.filter((note) => note !== '').join('  ');
  const owner = run.schedule === '' ? '' : `  ${style.faint(`of ${shortName(run.schedule)}`)}`;
  return `${style.faint(time)}  ${phase}  ${shortName(run.name)}  ${printable(run.spec?.task ?? '')}${owner}  ${style.faint(tail)}`
    .trimEnd()
    .concat('\n');
}
