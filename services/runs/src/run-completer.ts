import type { Clock } from '@carillon/core/clock.ts';
import { type Completion, completeRuns } from '@carillon/db/tables/run-leases.ts';
import type { RunDb, RunRow } from '@carillon/db/tables/runs.ts';
import { GroupCommit } from './group-commit.ts';
import { leaseId } from './lease-token.ts';
import type { RunHints } from './run-hints.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What completing needs. */
export interface RunCompleterOptions {
  readonly db: RunDb;
  readonly clock: Clock;
  readonly hints: RunHints;
  readonly metrics: RunMetrics;
}

/** Ends runs with success, those of calls that come at the same time in one statement. */
export class RunCompleter {
  readonly #options: RunCompleterOptions;
  readonly #group: GroupCommit<Completion, RunRow | undefined>;

  constructor(options: RunCompleterOptions) {
    this.#options = options;
    this.#group = new GroupCommit({
      flush: (completions) => this.#completeAll(completions),
      maxItems: 200,
      maxFlushes: 4,
      patienceMs: 25,
      maxWaiting: 10_000,
      clock: options.clock,
    });
  }

  /** The run; undefined when it is not held by this lease. */
  complete(completion: Completion): Promise<RunRow | undefined> {
    return this.#group.submit(completion);
  }

  async #completeAll(completions: readonly Completion[]): Promise<(RunRow | undefined)[]> {
    // A call may be repeated while the first is under way.
    const distinct = new Map(completions.map((completion) => [leaseId(completion), completion]));
    const rows = await completeRuns(this.#options.db, [...distinct.values()]);
    this.#options.metrics.changed(rows);
    this.#options.hints.changed(rows);
    const completed = new Map(rows.map((row) => [leaseId({ ...row, token: row.lease_token ?? '' }), row]));
    return completions.map((completion) => completed.get(leaseId(completion)));
  }
}
