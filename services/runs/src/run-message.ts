import { create, fromBinary } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { formatRunName, formatScheduleName } from '@carillon/core/resource-name.ts';
import { isTerminal } from '@carillon/core/run-state.ts';
import type { FullRunRow, NewRun, RunKey, RunRow } from '@carillon/db/tables/runs.ts';
import {
  ConcurrencySchema,
  OverlapPolicy,
  type Run,
  RunErrorSchema,
  RunKind,
  RunOutcome,
  type RunPayload,
  RunPayloadSchema,
  RunPhase,
  RunSchema,
} from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { timestampOfMicros } from '@carillon/server/epoch-timestamp.ts';

/** The resource name of a run. */
export function runNameOf({ project, domain, run_id }: Omit<RunKey, 'day'>): string {
  return formatRunName({ project, domain, runId: run_id });
}

/** A run as its callers see it; with inputs and output if they were read. */
export function runMessage(row: RunRow | FullRunRow): Run {
  const message = create(RunSchema, {
    name: runNameOf(row),
    kind: RunKind[row.kind],
    schedule:
      row.schedule_id === ''
        ? ''
        : formatScheduleName({ project: row.project, domain: row.domain, scheduleId: row.schedule_id }),
    scheduleUid: row.schedule_uid,
    scheduleRevision: row.schedule_revision,
    nominalTime: timestampOfMicros(row.nominal_micros),
    fireTime: timestampOfMicros(row.fire_micros),
    spec: {
      task: row.task,
      queue: row.queue,
      labels: row.labels,
      retry: {
        maxAttempts: row.max_attempts,
        initialBackoff: durationFromMs(row.initial_backoff_ms),
        maxBackoff: durationFromMs(row.max_backoff_ms),
      },
      attemptTimeout: durationFromMs(row.attempt_timeout_ms),
    },
    phase: RunPhase[row.phase],
    outcome: RunOutcome[row.outcome],
    attempt: row.attempt,
    createTime: timestampOfMicros(row.create_micros),
    worker: row.worker,
    version: row.version,
  });
  if (row.start_micros !== null) message.startTime = timestampOfMicros(row.start_micros);
  if (row.end_micros !== null) message.endTime = timestampOfMicros(row.end_micros);
  if (row.abort_request_micros !== null) {
    message.abortRequestTime = timestampOfMicros(row.abort_request_micros);
  }
  if (row.phase === 'QUEUED' && row.attempt > 0) {
    message.nextAttemptTime = timestampOfMicros(row.available_micros);
  }
  if (row.error_code !== '') {
    message.error = create(RunErrorSchema, {
      code: row.error_code,
      message: row.error_message,
    });
  }
  if (row.concurrency_key !== null) {
    message.concurrency = create(ConcurrencySchema, {
      key: row.concurrency_key,
      limit: row.concurrency_limit,
      policy: OverlapPolicy[row.concurrency_policy],
    });
  }
  if ('inputs' in row) {
    const inputs = payloadOf(row.inputs);
    const output = payloadOf(row.output);
    if (inputs !== undefined && message.spec !== undefined) message.spec.inputs = inputs;
    if (output !== undefined) message.output = output;
  }
  return message;
}

/** The row of a run as {@link NewRun} asks for it, and as it was decided. */
export function createdRow(
  run: NewRun & Partial<Pick<RunRow, 'error_code' | 'error_message'>>,
  createMicros: number,
): FullRunRow {
  return {
    error_code: '',
    error_message: '',
    ...run,
    digest: Buffer.from(run.digest),
    inputs: run.inputs === null ? null : Buffer.from(run.inputs),
    output: null,
    attempt: 0,
    create_micros: createMicros,
    available_micros: createMicros,
    start_micros: null,
    end_micros: isTerminal(run.phase) ? createMicros : null,
    worker: '',
    lease_token: null,
    abort_request_micros: null,
    abort_reason: '',
    version: 1n,
  };
}

function payloadOf(bytes: Uint8Array | null): RunPayload | undefined {
  return bytes === null ? undefined : fromBinary(RunPayloadSchema, bytes);
}
