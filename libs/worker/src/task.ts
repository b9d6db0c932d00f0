import type { JsonObject } from '@bufbuild/protobuf';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { Logger } from '@carillon/server';

/** Bytes with a media type, or a structure. At most 1 MiB either way. */
export type TaskPayload =
  | { readonly data: Uint8Array; readonly contentType?: string }
  | { readonly values: JsonObject };

/**
 * Why a handler's signal aborted:
 * - `ABORTED`: a caller asked for the run to be stopped
 * - `ATTEMPT_TIMEOUT`: the attempt has exceeded its time
 * - `LEASE_LOST`: the run was taken back, or may have been: the service was not heard of for a whole lease time
 * - `WORKER_STOPPING`: the worker ends
 */
export type StopCause = 'ABORTED' | 'ATTEMPT_TIMEOUT' | 'LEASE_LOST' | 'WORKER_STOPPING';

/** The reason of a handler's aborted signal. */
export class StopError extends Error {
  override readonly name = 'StopError';
  readonly stopCause: StopCause;

  constructor(stopCause: StopCause) {
    super(STOP_MESSAGES[stopCause]);
    this.stopCause = stopCause;
  }
}

const STOP_MESSAGES: Readonly<Record<StopCause, string>> = {
  ABORTED: 'the run was aborted',
  ATTEMPT_TIMEOUT: 'the attempt exceeded its time',
  LEASE_LOST: 'the lease of the run was lost',
  WORKER_STOPPING: 'the worker is stopping',
};

/** What a handler is given for one attempt of one run. */
export interface TaskContext {
  /** The run, with its inputs in `run.spec.inputs`. */
  readonly run: Run;
  /** Aborts, with a {@link StopError}, when the attempt shall end: stop soon, and throw. */
  readonly signal: AbortSignal;
  /** Writes lines that carry the run and the attempt. */
  readonly logger: Logger;
}

/**
 * Does the work of one attempt. What it resolves to is the run's output. When it rejects, the attempt has failed: with a
 * {@link TaskError} as that says, else with the code `TASK_FAILED`.
 */
export type TaskHandler = (context: TaskContext) => Promise<TaskPayload | undefined>;

/** A failure with a code of the task's own. */
export class TaskError extends Error {
  override readonly name = 'TaskError';
  /** Short, stable, UPPER_SNAKE_CASE. */
  readonly code: string;
  /** Another attempt would fail in the same way. */
  readonly permanent: boolean;
  /** What the attempt left behind. Undefined for nothing. */
  readonly output: TaskPayload | undefined;

  constructor(
    code: string,
    message: string,
    options: {
      /** Default false. */
      readonly permanent?: boolean;
      /** Default: nothing. */
      readonly output?: TaskPayload;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.permanent = options.permanent ?? false;
    this.output = options.output;
  }
}
