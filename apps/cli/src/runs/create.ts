import { readFile } from 'node:fs/promises';
import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { RunPhase, RunSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Command, Option } from 'commander';
import {
  defaultParent,
  durationOption,
  type FormatOptions,
  keyValue,
  outputStyle,
  type ParentOptions,
  positiveInteger,
  printLines,
  withFormatOption,
  withParentOptions,
} from '../command-options.ts';
import { type ConnectionOptions, connectRuns, reach, withConnectionOptions } from '../connection.ts';
import { CliError, ExitCode, usageError } from '../exit-code.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { parentName, shortName } from '../resource-argument.ts';
import { awaitRuns } from './await-runs.ts';
import { runDetails } from './run-details.ts';
import { phaseText } from './run-phase.ts';

interface CreateOptions extends ConnectionOptions, ParentOptions, FormatOptions {
  readonly queue?: string;
  readonly id?: string;
  readonly input?: ReadonlyMap<string, string>;
  readonly inputs?: string;
  readonly label?: ReadonlyMap<string, string>;
  readonly attempts?: number;
  readonly attemptTimeout?: number;
  readonly wait?: boolean;
  readonly dryRun?: boolean;
}

/** `carillon runs create`. */
export function runCreateCommand(host: Host): Command {
  const command = new Command('create')
    .description('create a run by hand')
    .argument('<task>', 'the task')
    .option('--id <id>', 'its name, which makes the command safe to repeat (default: chosen by the server)')
    .option('--queue <queue>', 'the queue (default: default)')
    .addOption(
      new Option(
        '--input <key=value>',
        'an input; JSON where it is JSON, else text; may be repeated',
      ).argParser(keyValue),
    )
    .option('--inputs <json>', 'all inputs as a JSON object; @FILE reads it from a file')
    .addOption(new Option('--label <key=value>', 'a label; may be repeated').argParser(keyValue))
    .addOption(new Option('--attempts <count>', 'the most attempts').argParser(positiveInteger(100)))
    .addOption(
      new Option('--attempt-timeout <duration>', 'the longest an attempt may take (default: 1h)').argParser(
        durationOption,
      ),
    )
    .option('--wait', 'follow it to its end; exits with 1 unless it succeeds')
    .option('--dry-run', 'check the request, and create nothing')
    .addHelpText(
      'after',
      `
Examples:
  $ carillon runs create command --input 'command=["/bin/date", "-u"]' --wait
  $ carillon runs create settle --id settle-2026-11 --inputs @settle.json -p payments -d production
`,
    );
  withConnectionOptions(withFormatOption(withParentOptions(command)), 'runs');
  return command.action(async (task: string, options: CreateOptions) => {
    const values = await inputsOf(options);
    const connection = await connectRuns(host, options);
    const { client, call } = connection;
    const created = await reach(
      connection,
      client.createRun(
        {
          parent: parentName(defaultParent(host, options)),
          runId: options.id ?? '',
          spec: {
            task,
            queue: options.queue ?? '',
            labels: Object.fromEntries(options.label ?? []),
            ...(values === undefined ? {} : { inputs: { content: { case: 'values', value: values } } }),
            ...(options.attempts === undefined ? {} : { retry: { maxAttempts: options.attempts } }),
            ...(options.attemptTimeout === undefined
              ? {}
              : {
                  attemptTimeout: durationFromMs(options.attemptTimeout),
                }),
          },
          validateOnly: options.dryRun ?? false,
        },
        call,
      ),
    );
    if (created.run === undefined) throw new CliError(ExitCode.failed, 'the server answered without a run');
    let run = created.run;
    if (options.wait === true && options.dryRun !== true) {
      const { name } = run;
      await awaitRuns(host, client, [name], () => undefined);
      // What is watched comes without its output.
      run = (await reach(connection, client.getRun({ name }, call))).run ?? run;
    }
    if (options.output !== 'table') host.stdout.write(renderMessage(RunSchema, run, options.output));
    else if (options.wait === true) printLines(host, runDetails(run, outputStyle(host), host.timeZone));
    else
      host.stdout.write(
        `${shortName(run.name)}  ${options.dryRun === true ? 'valid' : phaseText(run.phase)}\n`,
      );
    if (options.wait === true && options.dryRun !== true && run.phase !== RunPhase.SUCCEEDED) {
      throw new CliError(ExitCode.failed, `it ${phaseText(run.phase)}`);
    }
  });
}

async function inputsOf({ inputs, input }: CreateOptions): Promise<JsonObject | undefined> {
  if (inputs === undefined && input === undefined) return undefined;
  const text = inputs?.startsWith('@') ? await readInputs(inputs.slice(1)) : (inputs ?? '{}');
  const all = parseJson(text);
  if (typeof all !== 'object' || all === null || Array.isArray(all))
    throw usageError('--inputs: this is no JSON object');
  const single = [...(input ?? [])].map(([key, value]): [string, JsonValue] => [
    key,
    parseJson(value) ?? value,
  ]);
  return Object.fromEntries([...Object.entries(all), ...single]);
}

async function readInputs(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw usageError(`${file} cannot be read`, error instanceof Error ? error.message : String(error));
  }
}

/** Undefined for text that is no JSON. */
function parseJson(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
