import type { MessageInitShape } from '@bufbuild/protobuf';
import type { RunRow } from '@carillon/db/tables/runs.ts';
import { RunOutcome, RunPhase } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { ExistingRunSchema } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { ErrorInfoSchema } from '@carillon/gen/google/rpc/error_details_pb.ts';
import { ERROR_DOMAIN } from '@carillon/server';
import { timestampOfMicros } from '@carillon/server/epoch-timestamp.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import { runNameOf } from './run-message.ts';

/** The reasons of ALREADY_EXISTS. */
export type ExistsReason = 'RUN_EXISTS' | 'SPEC_CONFLICT';

/** The error for a name that is taken: by what was asked for, or by something else. It says what stands there. */
export class ExistsError extends ConnectError {
  readonly reason: ExistsReason;

  constructor(row: RunRow, reason: ExistsReason) {
    const name = runNameOf(row);
    const existing: MessageInitShape<typeof ExistingRunSchema> = {
      name,
      scheduleUid: row.schedule_uid,
      nominalTime: timestampOfMicros(row.nominal_micros),
      fireTime: timestampOfMicros(row.fire_micros),
      outcome: RunOutcome[row.outcome],
      phase: RunPhase[row.phase],
      sameSpec: reason === 'RUN_EXISTS',
    };
    const info = { reason, domain: ERROR_DOMAIN, metadata: { run: name } };
    super(
      reason === 'RUN_EXISTS' ? `${name} exists` : `${name} exists with another spec`,
      Code.AlreadyExists,
      undefined,
      [
        { desc: ErrorInfoSchema, value: info },
        { desc: ExistingRunSchema, value: existing },
      ],
    );
    this.reason = reason;
  }
}
