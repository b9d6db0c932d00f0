import type { RunPayload } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { printable } from './display-text.ts';
import type { Style } from './style.ts';

/** What is known of a thing: names and printable values. Empty values are not shown. */
export type Facts = readonly (readonly [name: string, value: string])[];

const NAME_WIDTH = 16;

/** Facts one below the other, their values aligned. */
export function factLines(facts: Facts, style: Style): string[] {
  return facts
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `  ${style.faint(name.padEnd(NAME_WIDTH))}${value}`);
}

/** `team=payments tier=gold`. */
export function labelText(labels: Readonly<Record<string, string>>): string {
  return printable(
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(' '),
  );
}

/** Inputs or output in a line: JSON, or how many bytes of what. */
export function payloadText(payload: RunPayload | undefined): string {
  switch (payload?.content.case) {
    case 'values':
      return printable(JSON.stringify(payload.content.value));
    case 'data': {
      const type = payload.contentType === '' ? 'application/octet-stream' : payload.contentType;
      return printable(`${payload.content.value.length} bytes of ${type}`);
    }
    default:
      return '';
  }
}
