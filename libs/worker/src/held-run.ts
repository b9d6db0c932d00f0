import type { Clock, Timer } from '@carillon/core/clock.ts';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { Lease } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import { callAt } from './call-at.ts';
import { type StopCause, StopError } from './task.ts';

/** The attempt's time when a run does not say it, in milliseconds. */
const DEFAULT_ATTEMPT_TIMEOUT_MS = 3_600_000;

/** A run that this worker holds a lease of. */
export class HeldRun {
  readonly run: Run;
  readonly leaseToken: string;
  /** When the attempt's time is over, on the monotonic clock: not before the service says so. */
  readonly deadline: number;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #deadlineTimer: Timer;
  #trustTimer: Timer | undefined;
  #taken = false;

  /** A lease that was received just now, and lasts for `leaseTtlMs`. */
  constructor(lease: Lease, clock: Clock, leaseTtlMs: number) {
    if (lease.run === undefined) throw new Error('the service sent a lease without a run');
    this.run = lease.run;
    this.leaseToken = lease.leaseToken;
    this.#clock = clock;
    const timeout = lease.run.spec?.attemptTimeout;
    const timeoutMs =
      timeout === undefined
        ? DEFAULT_ATTEMPT_TIMEOUT_MS
        : Number(timeout.seconds) * 1000 + timeout.nanos / 1e6;
    this.deadline = clock.monotonic() + timeoutMs;
    this.#deadlineTimer = callAt(clock, this.deadline, () => this.stop('ATTEMPT_TIMEOUT'));
    this.trustUntil(clock.monotonic() + leaseTtlMs);
  }

  /** How the lease is named in calls. */
  get ref(): { run: string; leaseToken: string } {
    return { run: this.run.name, leaseToken: this.leaseToken };
  }

  /** Aborts, with a StopError, when the attempt shall end. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Why the attempt shall end; the first cause stays. */
  get stopCause(): StopCause | undefined {
    const reason: unknown = this.#stop.signal.reason;
    return reason instanceof StopError ? reason.stopCause : undefined;
  }

  /** The service has said that the lease is lost: it will take no answer any more. */
  get taken(): boolean {
    return this.#taken;
  }

  /** Asks the handler to stop. */
  stop(cause: StopCause): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new StopError(cause));
  }

  /** The service has said that the lease is lost. */
  lose(): void {
    this.#taken = true;
    this.stop('LEASE_LOST');
  }

  /** The lease holds until then, on the monotonic clock. Unheard of by then, another worker may have the run. */
  trustUntil(due: number): void {
    this.#trustTimer?.cancel();
    this.#trustTimer = callAt(this.#clock, due, () => this.stop('LEASE_LOST'));
  }

  /** Disarms its timers. */
  release(): void {
    this.#deadlineTimer.cancel();
    this.#trustTimer?.cancel();
  }
}
