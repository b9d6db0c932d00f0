import { transaction } from '@carillon/db';
import { lockKeysOfLeases } from '@carillon/db/tables/concurrency-keys.ts';
import { releaseKeys } from '@carillon/db/tables/keyed-runs.ts';
import { endAttempts, type HeldLease, type LeaseKind, lockLeases } from '@carillon/db/tables/run-leases.ts';
import { type RunRow, selectRuns } from '@carillon/db/tables/runs.ts';
import { attemptOutcome, type EndedAttempt, hasEnded } from './attempt-end.ts';
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
    const end = (kind: LeaseKind) => lease && endAttempt(context, lease, kind, { permanent, answer });
    // Most runs have no concurrency key, and need no lock of one.
    const [ended, ...started] = (await end('PLAIN')) ?? (await end('KEYED')) ?? [];
    if (ended !== undefined) {
      metrics.changed([ended, ...started]);
      hints.changed([ended, ...started]);
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

/** The run, and then those that its concurrency key lets start by its end. Undefined when the lease is of the other kind, or lost. */
async function endAttempt(
  { db, entropy }: MethodContext,
  held: HeldLease,
  kind: LeaseKind,
  told: Pick<EndedAttempt, 'permanent' | 'answer'>,
): Promise<RunRow[] | undefined> {
  return await transaction(db, {}, async (trx) => {
    if (kind === 'KEYED') await lockKeysOfLeases(trx, [held.token]);
    const [lease] = await lockLeases(trx, [held], kind);
    if (lease === undefined) return undefined;
    const [run] = await selectRuns(trx, [lease]);
    if (run === undefined) return undefined;
    const cause = lease.overdue ? 'ATTEMPT_TIMEOUT' : 'FAILED';
    const ended = await endAttempts(trx, [attemptOutcome({ lease, run, cause, ...told }, entropy)]);
    return [...ended, ...(await releaseKeys(trx, ended.filter(hasEnded)))];
  });
}
