import { create, type JsonObject } from '@bufbuild/protobuf';
import { RunSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { createLogger } from '@carillon/server';
import { type TaskContext, TaskError, type TaskHandler } from '@carillon/worker';

/** An attempt of a run with these inputs. */
export function attemptOf(
  values: JsonObject,
  signal: AbortSignal = new AbortController().signal,
): TaskContext {
  return {
    run: create(RunSchema, {
      name: 'projects/p/domains/d/runs/r',
      attempt: 2,
      spec: { task: 't', inputs: { content: { case: 'values', value: values } } },
    }),
    signal,
    logger: createLogger({ service: 'worker', instance: 'test', level: 'silent' }),
  };
}

/** The values that a task puts out. */
export async function outputOf(handler: TaskHandler, values: JsonObject): Promise<JsonObject> {
  const payload = await handler(attemptOf(values));
  if (payload === undefined || !('values' in payload)) throw new Error('the task put out no values');
  return payload.values;
}

/** The failure that a task ends with. An Error if it does not fail, or in another way. */
export async function failureOf(result: Promise<unknown>): Promise<TaskError> {
  const outcome = await result.then(
    () => new Error('the task has not failed'),
    (error: unknown) => error,
  );
  if (outcome instanceof TaskError) return outcome;
  throw outcome;
}

/** The values in a failure's output. */
export function valuesOf({ output }: TaskError): JsonObject {
  if (output === undefined || !('values' in output)) throw new Error('the failure carries no values');
  return output.values;
}
