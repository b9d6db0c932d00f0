import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { InvalidArgumentError } from 'commander';
import { stringify } from 'yaml';

/** How results are printed: for people, or for programs in proto JSON names. */
export type OutputFormat = 'table' | 'json' | 'yaml';

/** The parser of `-o`. */
export function outputFormat(text: string): OutputFormat {
  if (text === 'table' || text === 'json' || text === 'yaml') return text;
  throw new InvalidArgumentError('It is one of table, json and yaml.');
}

/** A message in the format's notation, ending in a line break. */
export function renderMessage<Desc extends DescMessage>(
  desc: Desc,
  message: MessageShape<Desc>,
  format: Exclude<OutputFormat, 'table'>,
): string {
  return renderJson(toJson(desc, message), format);
}

/** JSON in the format's notation, ending in a line break. */
export function renderJson(json: unknown, format: Exclude<OutputFormat, 'table'>): string {
  // Folding would break long expressions and commands over lines, and nobody pastes those well.
  return format === 'json' ? `${JSON.stringify(json, undefined, 2)}\n` : stringify(json, { lineWidth: 0 });
}
