import { transaction } from '@carillon/db';
import { endAttempts, type HeldLease, lockLease } from '@carillon/db/tables/run-leases.ts';
import { type RunRow, selectRuns } from '@carillon/db/tables/runs.ts';
import { attemptOutcome, type EndedAttempt } from './attempt-end.ts';
import { endedBy, outputBytes } from './complete-run.ts';
import { leaseLost, parseLeaseRef } from './lease-token.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, WorkerMethod } from './run-method.ts';

/** Ends an attempt without success. */
export function failRun(context: MethodContext): WorkerMethod<'failRun'> {
  const { db, hints, metrics } = context;
  return async ({ lease: ref, error, permanent, output }) => {
    if (ref === undefined || error === undefined) {
      throw new RangeError('a request that kept its rules has a lease and an error');
    }
    const answer = { code: error.code, message: error.message, output: outputBytes(output) };
    const lease = parseLeaseRef(ref, 'lease');
    const ended = lease && (await endAttempt(context, lease, { permanent, answer }));
    if (ended !== undefined) {
      metrics.changed([ended]);
      hints.changed([ended]);
      return { run: runMessage(ended) };
    }
    const before =
      lease && (await endedBy(db, lease, ({ phase }) => phase !== 'RUNNING' && phase !== 'SUCCEEDED'));
    if (before === undefined) {
      metrics.staleToken('FailRun');
      throw leaseLost(ref.run);
    }
    return { run: runMessage(before) };
  };
}

/** Undefined when the lease is lost. */
async function endAttempt(
  { db, entropy }: MethodContext,
  held: HeldLease,
  told: Pick<EndedAttempt, 'permanent' | 'answer'>,
): Promise<RunRow | undefined> {
  return await transaction(db, {}, async (trx) => {
    const lease = await lockLease(trx, held);
    if (lease === undefined) return undefined;
    const [run] = await selectRuns(trx, [lease]);
    if (run === undefined) return undefined;
    const cause = lease.overdue ? 'ATTEMPT_TIMEOUT' : 'FAILED';
    const [ended] = await endAttempts(trx, [attemptOutcome({ lease, run, cause, ...told }, entropy)]);
    return ended;
  });
}
