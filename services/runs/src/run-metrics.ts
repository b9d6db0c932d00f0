import { DomainError } from '@carillon/core/domain-error.ts';
import type { RunPhase } from '@carillon/core/run-state.ts';
import type { QueueDepth } from '@carillon/db/tables/ready-runs.ts';
import type { RunOutcome, RunRow } from '@carillon/db/tables/runs.ts';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { ExistsError } from './existing-run.ts';

/** What the runs service counts. */
export class RunMetrics {
  readonly #created: Counter<'outcome'>;
  readonly #existing: Counter<'reason'>;
  readonly #refused: Counter<'reason'>;
  readonly #groupSize: Histogram;
  readonly #phases: Counter<'phase'>;
  readonly #ready: Gauge<'queue'>;
  readonly #readyAge: Gauge<'queue'>;
  readonly #workers: Gauge;
  readonly #leaseLatency: Histogram<'queue'>;
  readonly #attemptsLost: Counter<'cause'>;
  readonly #handedBack: Counter;
  readonly #staleTokens: Counter<'method'>;
  readonly #dutyFailures: Counter<'duty'>;
  readonly #watchers: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#created = new Counter({
      name: 'carillon_runs_created_total',
      help: 'Runs created, by what their overlap policy decided.',
      labelNames: ['outcome'],
      registers,
    });
    this.#existing = new Counter({
      name: 'carillon_runs_existing_total',
      help: 'CreateRuns whose name was taken: RUN_EXISTS by the same spec, SPEC_CONFLICT by another.',
      labelNames: ['reason'],
      registers,
    });
    this.#refused = new Counter({
      name: 'carillon_runs_refused_total',
      help: 'CreateRuns that were refused: EXPIRED, BEYOND_RETENTION, or ERROR for what broke on the way.',
      labelNames: ['reason'],
      registers,
    });
    this.#groupSize = new Histogram({
      name: 'carillon_runs_create_group_size',
      help: 'Runs per insert statement.',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    });
    this.#phases = new Counter({
      name: 'carillon_runs_phase_total',
      help: 'Changes of runs into a phase, except their creation.',
      labelNames: ['phase'],
      registers,
    });
    this.#ready = new Gauge({
      name: 'carillon_runs_ready',
      help: 'Runs that wait for a worker, by queue.',
      labelNames: ['queue'],
      registers,
    });
    this.#readyAge = new Gauge({
      name: 'carillon_runs_ready_oldest_age_seconds',
      help: 'For how long the longest waiting run of a queue has been ready.',
      labelNames: ['queue'],
      registers,
    });
    this.#workers = new Gauge({
      name: 'carillon_runs_live_workers',
      help: 'Workers that were heard of within the last lease time.',
      registers,
    });
    this.#leaseLatency = new Histogram({
      name: 'carillon_runs_lease_latency_seconds',
      help: 'From a run becoming ready to its lease, by queue.',
      labelNames: ['queue'],
      buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800],
      registers,
    });
    this.#attemptsLost = new Counter({
      name: 'carillon_runs_attempts_taken_back_total',
      help: 'Attempts that the service ended itself: LEASE_EXPIRED or ATTEMPT_TIMEOUT.',
      labelNames: ['cause'],
      registers,
    });
    this.#handedBack = new Counter({
      name: 'carillon_runs_handed_back_total',
      help: 'Leases that never reached their worker, and were undone.',
      registers,
    });
    this.#staleTokens = new Counter({
      name: 'carillon_runs_stale_tokens_total',
      help: 'Calls of workers under a lease that was lost.',
      labelNames: ['method'],
      registers,
    });
    this.#dutyFailures = new Counter({
      name: 'carillon_runs_duty_failures_total',
      help: 'Runs of an internal duty that failed.',
      labelNames: ['duty'],
      registers,
    });
    this.#watchers = new Gauge({
      name: 'carillon_runs_watchers',
      help: 'Open WatchRuns streams.',
      registers,
    });
  }

  created(outcome: RunOutcome): void {
    this.#created.inc({ outcome });
  }

  /** A request that came to an error. */
  notCreated(error: unknown): void {
    if (error instanceof ExistsError) this.#existing.inc({ reason: error.reason });
    else if (error instanceof DomainError && error.fault.kind === 'FAILED_PRECONDITION') {
      this.#refused.inc({ reason: error.fault.reason });
    } else this.#refused.inc({ reason: 'ERROR' });
  }

  inserted(runs: number): void {
    this.#groupSize.observe(runs);
  }

  /** Runs that came into a phase. */
  changed(rows: readonly { readonly phase: RunPhase }[]): void {
    for (const { phase } of rows) this.#phases.inc({ phase });
  }

  /** Runs that were leased. */
  leased(rows: readonly Pick<RunRow, 'phase' | 'queue' | 'start_micros' | 'available_micros'>[]): void {
    this.changed(rows);
    for (const { queue, start_micros, available_micros } of rows) {
      this.#leaseLatency.observe(
        { queue },
        Math.max(0, ((start_micros ?? 0) - available_micros) / 1_000_000),
      );
    }
  }

  takenBack(cause: 'LEASE_EXPIRED' | 'ATTEMPT_TIMEOUT'): void {
    this.#attemptsLost.inc({ cause });
  }

  handedBack(leases: number): void {
    this.#handedBack.inc(leases);
  }

  staleToken(method: 'Heartbeat' | 'CompleteRun' | 'FailRun'): void {
    this.#staleTokens.inc({ method });
  }

  dutyFailed(duty: string): void {
    this.#dutyFailures.inc({ duty });
  }

  watching(change: 1 | -1): void {
    this.#watchers.inc(change);
  }

  /** What the database says of queues and workers. */
  observe(depths: readonly QueueDepth[], liveWorkers: number): void {
    this.#ready.reset();
    this.#readyAge.reset();
    for (const { queue, ready, oldest_age_seconds } of depths) {
      this.#ready.set({ queue }, ready);
      this.#readyAge.set({ queue }, oldest_age_seconds);
    }
    this.#workers.set(liveWorkers);
  }
}
