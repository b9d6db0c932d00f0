/** The phases of a run. */
export const RUN_PHASES = [
  'BUFFERED',
  'QUEUED',
  'RUNNING',
  'SUCCEEDED',
  'FAILED',
  'ABORTED',
  'TIMED_OUT',
  'SKIPPED',
] as const;

/** One of {@link RUN_PHASES}. */
export type RunPhase = (typeof RUN_PHASES)[number];

/**
 * What may happen to a run after its creation:
 * - `ADMIT`: the run that held it back has ended
 * - `LEASE`: a worker took it, for its next attempt
 * - `HAND_BACK`: the lease never reached its worker; the attempt does not count
 * - `COMPLETE`: the worker succeeded
 * - `RETRY`: the attempt ended without success, and the policy allows another one
 * - `FAIL`: it ended without success, for good
 * - `TIME_OUT`: it exceeded its time, and no other attempt is allowed
 * - `REQUEST_ABORT`: a caller asked for it to be stopped
 * - `ABORT`: after such a request the worker stopped, or was lost
 */
export const RUN_EVENTS = [
  'ADMIT',
  'LEASE',
  'HAND_BACK',
  'COMPLETE',
  'RETRY',
  'FAIL',
  'TIME_OUT',
  'REQUEST_ABORT',
  'ABORT',
] as const;

/** One of {@link RUN_EVENTS}. */
export type RunEvent = (typeof RUN_EVENTS)[number];

/** The next phase; `REFUSED`: it cannot happen in this phase; `IGNORED`: it may, and changes nothing. */
export type RunStep = RunPhase | 'REFUSED' | 'IGNORED';

const TERMINAL = {
  SUCCEEDED: 'REFUSED',
  FAILED: 'REFUSED',
  ABORTED: 'REFUSED',
  TIMED_OUT: 'REFUSED',
  SKIPPED: 'REFUSED',
} as const;
const TERMINAL_IGNORES = {
  SUCCEEDED: 'IGNORED',
  FAILED: 'IGNORED',
  ABORTED: 'IGNORED',
  TIMED_OUT: 'IGNORED',
  SKIPPED: 'IGNORED',
} as const;
const WHILE_RUNNING = { BUFFERED: 'REFUSED', QUEUED: 'REFUSED', ...TERMINAL } as const;

const STEPS: Readonly<Record<RunEvent, Readonly<Record<RunPhase, RunStep>>>> = {
  ADMIT: { BUFFERED: 'QUEUED', QUEUED: 'REFUSED', RUNNING: 'REFUSED', ...TERMINAL },
  LEASE: { BUFFERED: 'REFUSED', QUEUED: 'RUNNING', RUNNING: 'REFUSED', ...TERMINAL },
  HAND_BACK: { ...WHILE_RUNNING, RUNNING: 'QUEUED' },
  COMPLETE: { ...WHILE_RUNNING, RUNNING: 'SUCCEEDED' },
  RETRY: { ...WHILE_RUNNING, RUNNING: 'QUEUED' },
  FAIL: { ...WHILE_RUNNING, RUNNING: 'FAILED' },
  TIME_OUT: { ...WHILE_RUNNING, RUNNING: 'TIMED_OUT' },
  REQUEST_ABORT: { BUFFERED: 'ABORTED', QUEUED: 'ABORTED', RUNNING: 'RUNNING', ...TERMINAL_IGNORES },
  ABORT: { ...WHILE_RUNNING, RUNNING: 'ABORTED' },
};

/** What `event` does to a run in `phase`. */
export function runStep(phase: RunPhase, event: RunEvent): RunStep {
  return STEPS[event][phase];
}

/** The phases from which `event` leads to `next`: what a conditional update has to ask for. */
export function phasesBefore(event: RunEvent, next: RunPhase): RunPhase[] {
  return RUN_PHASES.filter((phase) => STEPS[event][phase] === next);
}

/** Whether nothing leaves the phase any more. */
export function isTerminal(phase: RunPhase): boolean {
  return RUN_EVENTS.every((event) => STEPS[event][phase] === 'REFUSED' || STEPS[event][phase] === 'IGNORED');
}

/** How an attempt ended without success, and what its run allows. */
export interface AttemptEnd {
  /** The worker said so; its lease ran out; or the attempt exceeded its time. */
  readonly cause: 'FAILED' | 'LEASE_EXPIRED' | 'ATTEMPT_TIMEOUT';
  /** The attempt's number, from 1. */
  readonly attempt: number;
  /** The most attempts, the first one included; at least 1. */
  readonly maxAttempts: number;
  /** A caller has asked for the run to be stopped. */
  readonly abortRequested: boolean;
  /** The worker said that another attempt would fail in the same way. */
  readonly permanent: boolean;
}

/** What the end of an attempt without success means for its run. A requested abort wins: it ends the run, as aborted. */
export function eventOfAttemptEnd(end: AttemptEnd): 'RETRY' | 'FAIL' | 'TIME_OUT' | 'ABORT' {
  if (end.abortRequested) return 'ABORT';
  if (!end.permanent && end.attempt < end.maxAttempts) return 'RETRY';
  return end.cause === 'ATTEMPT_TIMEOUT' ? 'TIME_OUT' : 'FAIL';
}
