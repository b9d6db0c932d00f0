import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { TaskError } from '@carillon/worker';

/** The failure of a run whose inputs a task cannot work with; another attempt would not help. */
export function invalidInput(name: string, wanted: string): TaskError {
  return new TaskError('INVALID_INPUT', `the input ${name} must be ${wanted}`, { permanent: true });
}

/** The structure that a run's inputs hold; empty when they hold none. */
export function inputValues(run: Run): JsonObject {
  const content = run.spec?.inputs?.content;
  return content?.case === 'values' ? content.value : {};
}

/** Names and strings, from an input of that kind; none when it is missing. @throws {TaskError} INVALID_INPUT */
export function stringMap(name: string, value: JsonValue | undefined): ReadonlyMap<string, string> {
  if (value === undefined) return new Map();
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidInput(name, 'names and strings');
  }
  return new Map(
    Object.entries(value).map(([key, text]) => {
      if (typeof text !== 'string') throw invalidInput(`${name}.${key}`, 'a string');
      return [key, text];
    }),
  );
}
