import { unimplemented } from '@carillon/core/domain-error.ts';
import { OVERLAP_POLICIES_OFFERED, type OverlapPolicy } from '@carillon/core/schedule-spec.ts';
import type { NewRun } from '@carillon/db/tables/runs.ts';

/** What becomes of a new run. */
export type OverlapDecision = Pick<NewRun, 'phase' | 'outcome'>;

/**
 * Decides a new run by its overlap policy. Only what needs no look at other runs is offered so far, so the decision is made
 * before the insert; what counts runs of the key belongs into the transaction of `insertRuns`.
 *
 * @throws {DomainError} UNIMPLEMENTED
 */
export function decideOverlap(policy: OverlapPolicy, limit: number): OverlapDecision {
  if (!OVERLAP_POLICIES_OFFERED.has(policy)) {
    throw unimplemented('OVERLAP_POLICY', `the overlap policy ${policy} is not offered yet`);
  }
  if (limit > 0) throw unimplemented('OVERLAP_LIMIT', 'a limit under ALLOW is not offered yet');
  return { phase: 'QUEUED', outcome: 'STARTED' };
}
