import type { Clock } from '@carillon/core/clock.ts';
import { transaction } from '@carillon/db';
import { lockKeysOfLeases } from '@carillon/db/tables/concurrency-keys.ts';
import { releaseKeys } from '@carillon/db/tables/keyed-runs.ts';
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
  readonly #plain: GroupCommit<Completion, RunRow | undefined>;
  readonly #keyed: GroupCommit<Completion, RunRow | undefined>;

  constructor(options: RunCompleterOptions) {
    this.#options = options;
    const group = { maxItems: 200, patienceMs: 25, maxWaiting: 10_000, clock: options.clock };
    this.#plain = new GroupCommit({
      ...group,
      maxFlushes: 4,
      flush: (completions) => this.#completePlain(completions),
    });
    this.#keyed = new GroupCommit({
      ...group,
      maxFlushes: 2,
      flush: (completions) => this.#completeKeyed(completions),
    });
  }

  /** The run; undefined when it is not held by this lease. */
  async complete(completion: Completion): Promise<RunRow | undefined> {
    // Most runs have no concurrency key, and must not wait for the locks of those that have.
    return (await this.#plain.submit(completion)) ?? (await this.#keyed.submit(completion));
  }

  async #completePlain(completions: readonly Completion[]): Promise<(RunRow | undefined)[]> {
    const { db } = this.#options;
    return this.#told(completions, await completeRuns(db, distinct(completions), 'PLAIN'), []);
  }

  async #completeKeyed(completions: readonly Completion[]): Promise<(RunRow | undefined)[]> {
    const { completed, started } = await transaction(this.#options.db, {}, async (trx) => {
      const leases = distinct(completions);
      await lockKeysOfLeases(
        trx,
        leases.map(({ token }) => token),
      );
      const completed = await completeRuns(trx, leases, 'KEYED');
      return { completed, started: await releaseKeys(trx, completed) };
    });
    return this.#told(completions, completed, started);
  }

  #told(
    completions: readonly Completion[],
    completed: readonly RunRow[],
    started: readonly RunRow[],
  ): (RunRow | undefined)[] {
    const changed = [...completed, ...started];
    this.#options.metrics.changed(changed);
    this.#options.hints.changed(changed);
    const byLease = new Map(completed.map((row) => [leaseId({ ...row, token: row.lease_token ?? '' }), row]));
    return completions.map((completion) => byLease.get(leaseId(completion)));
  }
}

/** A call may be repeated while the first is under way. */
function distinct(completions: readonly Completion[]): Completion[] {
  return [...new Map(completions.map((completion) => [leaseId(completion), completion])).values()];
}
