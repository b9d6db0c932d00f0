import { backoffMs } from '@carillon/core/backoff.ts';
import type { Entropy } from '@carillon/core/clock.ts';
import { type AttemptEnd, eventOfAttemptEnd, isTerminal, runStep } from '@carillon/core/run-state.ts';
import type { AttemptOutcome, LockedLease } from '@carillon/db/tables/run-leases.ts';
import type { RunRow } from '@carillon/db/tables/runs.ts';

/** How an attempt ended without success. */
export interface EndedAttempt {
  readonly lease: LockedLease;
  /** The run, read while the lease is locked. */
  readonly run: RunRow;
  readonly cause: AttemptEnd['cause'];
  /** Whether another attempt would fail in the same way. */
  readonly permanent: boolean;
  /** What its worker said; undefined when it said nothing. */
  readonly answer?: {
    readonly code: string;
    readonly message: string;
    /** A RunPayload; null for nothing. */
    readonly output: Uint8Array | null;
  };
}

/** The code of a run that was aborted, and of a worker's answer that says so. */
export const ABORTED_CODE = 'ABORTED';

const OWN_MESSAGES = {
  LEASE_EXPIRED: 'the worker was not heard of in time',
  ATTEMPT_TIMEOUT: 'the attempt exceeded its time',
} as const;

/** The longest message of a RunError, in characters. */
const MAX_MESSAGE = 4096;

/** Whether the run is over, and makes room for others of its concurrency key; one that is tried again does not. */
export function hasEnded({ phase }: RunRow): boolean {
  return isTerminal(phase);
}

/** What becomes of the run. */
export function attemptOutcome(ended: EndedAttempt, entropy: Entropy): AttemptOutcome {
  const { lease, run, cause, permanent, answer } = ended;
  const event = eventOfAttemptEnd({
    cause,
    permanent,
    attempt: run.attempt,
    maxAttempts: run.max_attempts,
    abortRequested: lease.abort_requested,
  });
  const phase = runStep('RUNNING', event);
  if (phase !== 'QUEUED' && phase !== 'FAILED' && phase !== 'ABORTED' && phase !== 'TIMED_OUT') {
    throw new Error(`an attempt that ended without success leads to ${phase}`);
  }
  const backoff = { initialMs: run.initial_backoff_ms, maxMs: run.max_backoff_ms };
  return {
    project: run.project,
    domain: run.domain,
    run_id: run.run_id,
    day: run.day,
    token: lease.token,
    phase,
    delay_ms: phase === 'QUEUED' ? backoffMs(backoff, run.attempt, entropy.fraction()) : 0,
    ...errorOf(ended, phase === 'ABORTED'),
    output: answer?.output ?? null,
    answered: answer !== undefined,
  };
}

function errorOf(
  { run, cause, answer }: EndedAttempt,
  aborted: boolean,
): Pick<AttemptOutcome, 'error_code' | 'error_message'> {
  const own = cause === 'FAILED' ? undefined : { code: cause, message: OWN_MESSAGES[cause] };
  const told = answer === undefined ? undefined : { code: answer.code, message: answer.message };
  // A worker that ran out of time may say so in its own words, with what it saw.
  const error = (cause === 'ATTEMPT_TIMEOUT' && own && told
    ? { ...told, code: own.code }
    : (told ?? own)) ?? {
    code: 'UNKNOWN',
    message: '',
  };
  if (!aborted) return { error_code: error.code, error_message: error.message };
  // The caller's reason comes first; what the attempt itself said is kept if it says more than that it was aborted.
  const parts = [
    run.abort_reason,
    error.code === ABORTED_CODE ? error.message : `${error.code}: ${error.message}`,
  ];
  return {
    error_code: ABORTED_CODE,
    error_message: parts
      .filter((part) => part !== '')
      .join('; ')
      .slice(0, MAX_MESSAGE),
  };
}
