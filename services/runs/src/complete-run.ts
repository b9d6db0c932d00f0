import { toBinary } from '@bufbuild/protobuf';
import { invalidArgument } from '@carillon/core/domain-error.ts';
import type { HeldLease } from '@carillon/db/tables/run-leases.ts';
import { type RunDb, type RunRow, selectRuns } from '@carillon/db/tables/runs.ts';
import { type RunPayload, RunPayloadSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { payloadViolations } from '@carillon/server/run-spec-message.ts';
import { leaseLost, parseLeaseRef } from './lease-token.ts';
import { payloadWithDefaults } from './new-run.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, WorkerMethod } from './run-method.ts';

/** Ends a run with success. */
export function completeRun({ completer, db, metrics }: MethodContext): WorkerMethod<'completeRun'> {
  return async ({ lease: ref, output }) => {
    if (ref === undefined) throw new RangeError('a request that kept its rules has a lease');
    const bytes = outputBytes(output);
    const lease = parseLeaseRef(ref, 'lease');
    const run =
      lease &&
      ((await completer.complete({ ...lease, output: bytes })) ??
        (await endedBy(db, lease, ({ phase }) => phase === 'SUCCEEDED')));
    if (run === undefined) {
      metrics.staleToken('CompleteRun');
      throw leaseLost(ref.run);
    }
    return { run: runMessage(run) };
  };
}

/** The run if its last lease was this one and ended it so: then the call is a repetition, or its run has gone on since. */
export async function endedBy(
  db: RunDb,
  lease: HeldLease,
  so: (run: RunRow) => boolean,
): Promise<RunRow | undefined> {
  const [run] = await selectRuns(db, [lease]);
  return run !== undefined && run.lease_token === lease.token && so(run) ? run : undefined;
}

/** An output as it is stored. @throws {DomainError} INVALID_ARGUMENT */
export function outputBytes(output: RunPayload | undefined): Uint8Array | null {
  if (output === undefined) return null;
  const violations = payloadViolations(output, 'output');
  if (violations.length > 0) throw invalidArgument(...violations);
  const payload = payloadWithDefaults(output);
  return payload === undefined ? null : toBinary(RunPayloadSchema, payload);
}
