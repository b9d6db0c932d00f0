import { isNameSegment, type Parent } from '@carillon/core/resource-name.ts';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from './duration.ts';
import type { Host } from './host.ts';
import { type OutputFormat, outputFormat } from './output-format.ts';
import { createStyle, type Style, wantsStyle } from './style.ts';
import type { TableOptions } from './table.ts';

/** The options that say in which project and domain names are looked for. */
export interface ParentOptions {
  readonly project?: string;
  readonly domain?: string;
}

/** The option that says how results are printed. */
export interface FormatOptions {
  readonly output: OutputFormat;
}

/** The project, and the domain, of a name that comes without. */
export const DEFAULT_SEGMENT = 'default';

/** Adds `--project` and `--domain`. */
export function withParentOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-p, --project <project>', 'the project (default: CARILLON_PROJECT)').argParser(segment),
    )
    .addOption(
      new Option('-d, --domain <domain>', 'the domain (default: CARILLON_DOMAIN)').argParser(segment),
    );
}

/** Adds `-o`. */
export function withFormatOption(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'table, json or yaml').argParser(outputFormat).default('table'),
  );
}

/** Where a name without project and domain is: options, environment, `default/default`. */
export function defaultParent(host: Host, options: ParentOptions): Parent {
  return {
    project: options.project ?? host.environment.CARILLON_PROJECT ?? DEFAULT_SEGMENT,
    domain: options.domain ?? host.environment.CARILLON_DOMAIN ?? DEFAULT_SEGMENT,
  };
}

/** Where a list looks: options, environment, everywhere. */
export function listParent(host: Host, options: ParentOptions): Parent {
  return {
    project: options.project ?? host.environment.CARILLON_PROJECT ?? '-',
    domain: options.domain ?? host.environment.CARILLON_DOMAIN ?? '-',
  };
}

/** The style of standard output. */
export function outputStyle(host: Host): Style {
  return createStyle(wantsStyle(host.environment, host.stdout.isTerminal));
}

/** How tables go to standard output: cut to the terminal's width, and never in a pipe. */
export function tableOptions(host: Host): TableOptions {
  return { style: outputStyle(host), columns: host.stdout.isTerminal ? host.stdout.size.columns : undefined };
}

/** Writes lines to standard output. */
export function printLines(host: Host, lines: readonly string[]): void {
  if (lines.length > 0) host.stdout.write(`${lines.join('\n')}\n`);
}

/** The parser of options that take a positive whole number up to `max`. */
export function positiveInteger(max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > max) throw new InvalidArgumentError(`It is a whole number from 1 to ${max}.`);
    return value;
  };
}

/** The parser of options that take a duration; answers milliseconds. */
export function durationOption(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined || milliseconds < 1) {
    throw new InvalidArgumentError('It is a duration such as 90s, 15m or 1h30m.');
  }
  return milliseconds;
}

/** The parser of options that may be repeated: `KEY=VALUE` into pairs. */
export function keyValue(text: string, before: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It is KEY=VALUE.');
  return new Map([...before, [text.slice(0, at), text.slice(at + 1)]]);
}

function segment(text: string): string {
  if (!isNameSegment(text)) throw new InvalidArgumentError('It begins with a-z and holds a-z, 0-9 and -.');
  return text;
}
