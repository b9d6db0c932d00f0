import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RunPayloadSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { Logger } from '@carillon/server';
import type { HeldRun } from './held-run.ts';
import { type StopCause, TaskError, type TaskHandler, type TaskPayload } from './task.ts';

/** How an attempt ended. */
export type Answer =
  | { readonly succeeded: true; readonly output: TaskPayload | undefined }
  | {
      readonly succeeded: false;
      readonly code: string;
      readonly message: string;
      readonly permanent: boolean;
      readonly output: TaskPayload | undefined;
    };

const CODE = /^[A-Z][A-Z0-9_]{0,62}$/;
const MAX_MESSAGE_CHARS = 4_096;

/** Runs the handler, and tells how that ended. Never rejects. */
export async function attempt(
  held: HeldRun,
  handler: TaskHandler | undefined,
  logger: Logger,
): Promise<Answer> {
  const task = held.run.spec?.task ?? '';
  if (handler === undefined) return failure('UNKNOWN_TASK', `this worker does not know the task ${task}`);
  try {
    return { succeeded: true, output: await handler({ run: held.run, signal: held.signal, logger }) };
  } catch (error) {
    return failureOf(error, held.stopCause);
  }
}

function failureOf(error: unknown, cause: StopCause | undefined): Answer {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof TaskError)) return failure(cause ?? 'TASK_FAILED', message);
  const code = cause ?? (CODE.test(error.code) ? error.code : 'TASK_FAILED');
  return {
    ...failure(code, message),
    permanent: error.permanent && cause === undefined,
    output: error.output,
  };
}

function failure(code: string, message: string) {
  return { succeeded: false, code, message: storable(message), permanent: false, output: undefined } as const;
}

/** A message as the service takes it: without NUL, and counted in characters, not in halves of them. */
function storable(message: string): string {
  const text = message.toWellFormed().replaceAll('\u0000', '\ufffd');
  return text.length <= MAX_MESSAGE_CHARS ? text : Array.from(text).slice(0, MAX_MESSAGE_CHARS).join('');
}

/** A payload as the service takes it. */
export function payloadInit(payload: TaskPayload | undefined): MessageInitShape<typeof RunPayloadSchema> {
  if (payload === undefined) return {};
  if ('values' in payload) return { content: { case: 'values', value: payload.values } };
  return { content: { case: 'data', value: payload.data }, contentType: payload.contentType ?? '' };
}
