import type { Clock } from '@carillon/core/clock.ts';
import { failedPrecondition, unavailable } from '@carillon/core/domain-error.ts';
import { isConflict, SqlState, sqlState } from '@carillon/db';
import { selectNamedKeys } from '@carillon/db/tables/run-names.ts';
import {
  type InsertedRun,
  insertRuns,
  LATE_RUN_STATE,
  type NewRun,
  type RunDb,
  type RunKey,
  type RunRow,
  selectRuns,
} from '@carillon/db/tables/runs.ts';
import { ExistsError, type ExistsReason } from './existing-run.ts';
import { GroupCommit } from './group-commit.ts';
import type { RunHints } from './run-hints.ts';
import { runNameOf } from './run-message.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What became of a request: the run was created at an instant, in microseconds since the epoch, or it was refused. */
export type Creation =
  | { readonly createMicros: number; readonly error?: undefined }
  | { readonly createMicros?: undefined; readonly error: unknown };

/** What creating needs. */
export interface RunCreatorOptions {
  readonly db: RunDb;
  readonly clock: Clock;
  readonly hints: RunHints;
  readonly metrics: RunMetrics;
  /** Runs of older days can no longer be told from new ones. */
  readonly retentionDays: number;
}

/** The most runs of one insert. */
export const MAX_INSERT = 500;

/** Creates runs once by name. */
export class RunCreator {
  readonly #options: RunCreatorOptions;
  readonly #group: GroupCommit<NewRun, Creation>;

  constructor(options: RunCreatorOptions) {
    this.#options = options;
    this.#group = new GroupCommit({
      flush: (runs) => this.createAll(runs),
      maxItems: MAX_INSERT,
      maxFlushes: 4,
      patienceMs: 25,
      maxWaiting: 20 * MAX_INSERT,
      clock: options.clock,
    });
  }

  /** Creates one run, in one statement with others that come at the same time. */
  create(run: NewRun): Promise<Creation> {
    return this.#group.submit(run);
  }

  /** Creates up to {@link MAX_INSERT} runs; each succeeds or fails alone. Answers in the order of `runs`. */
  async createAll(runs: readonly NewRun[]): Promise<Creation[]> {
    const creations = await this.#createAll(this.#options.db, runs);
    this.#options.hints.changed(runs.filter((_, index) => creations[index]?.error === undefined));
    this.#count(runs, creations);
    return creations;
  }

  /** What creating this run would come to, without creating it. */
  async rehearse(run: NewRun): Promise<Creation> {
    const trx = await this.#options.db.startTransaction().execute();
    try {
      const [creation] = await this.#createAll(trx, [run]);
      if (creation === undefined) throw new Error('one run came to no creation');
      return creation;
    } finally {
      await trx.rollback().execute();
    }
  }

  async #createAll(db: RunDb, runs: readonly NewRun[]): Promise<Creation[]> {
    const creations = new Array<Creation | undefined>(runs.length);
    let open = runs.map((run, index) => ({ run, index }));
    for (let round = 0; open.length > 0 && round < MAX_ROUNDS; round++) {
      const { firsts, repeats } = byName(open);
      const inserted = await this.#insert(
        db,
        firsts.map(({ run }) => run),
      );
      const undecided: { run: NewRun; index: number; gate: InsertedRun['gate'] }[] = [];
      for (const [place, { run, index }] of firsts.entries()) {
        const result = inserted[place];
        if (result instanceof Failure) creations[index] = { error: result.reason };
        else if (result?.create_micros != null) creations[index] = { createMicros: result.create_micros };
        else undecided.push({ run, index, gate: result?.gate ?? 'OPEN' });
      }
      // A repeat within the group is one of a run that exists by now, if it came to that.
      for (const repeat of repeats) undecided.push({ ...repeat, gate: 'OPEN' });
      const existing = await existingRuns(
        db,
        undecided.map(({ run }) => run),
      );
      open = [];
      for (const { run, index, gate } of undecided) {
        const row = existing.get(runNameOf(run));
        if (row !== undefined) creations[index] = { error: new ExistsError(row, reasonOf(row, run)) };
        else if (gate === 'OPEN') open.push({ run, index });
        else creations[index] = { error: this.#refusal(gate, run) };
      }
    }
    return Array.from(creations, (creation) => creation ?? { error: contended() });
  }

  /** Inserts in the order of `runs`. When a row breaks the statement, that row alone fails. */
  async #insert(db: RunDb, runs: readonly NewRun[]): Promise<(InsertedRun | Failure)[]> {
    if (runs.length === 0) return [];
    try {
      return await this.#insertPatiently(db, runs);
    } catch (error) {
      if (runs.length > 1 && isFaultOfRow(error)) {
        const half = runs.length >> 1;
        return [
          ...(await this.#insert(db, runs.slice(0, half))),
          ...(await this.#insert(db, runs.slice(half))),
        ];
      }
      return runs.map(() => new Failure(error));
    }
  }

  async #insertPatiently(db: RunDb, runs: readonly NewRun[]): Promise<InsertedRun[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const inserted = await insertRuns(db, runs, this.#options.retentionDays);
        this.#options.metrics.inserted(runs.length);
        return inserted;
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || db.isTransaction || !passes(error)) throw error;
      }
    }
  }

  #refusal(gate: 'EXPIRED' | 'BEYOND_RETENTION', run: NewRun): Error {
    const metadata = { run: runNameOf(run) };
    if (gate === 'EXPIRED')
      return failedPrecondition(gate, 'not_after has passed: send again with a later one', metadata);
    return failedPrecondition(
      gate,
      `the nominal time is more than ${this.#options.retentionDays} days ago: whether the run existed can no longer be told`,
      metadata,
    );
  }

  #count(runs: readonly NewRun[], creations: readonly Creation[]): void {
    const { metrics } = this.#options;
    for (const [index, { error }] of creations.entries()) {
      const outcome = runs[index]?.outcome;
      if (error === undefined && outcome !== undefined) metrics.created(outcome);
      else if (error !== undefined) metrics.notCreated(error);
    }
  }
}

/** Why a run could not be inserted. */
class Failure {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
}

/** A name that is neither free nor taken this many times in a row: its runs are being deleted, or rolled back. */
const MAX_ROUNDS = 5;

/** How often an insert is tried that fails only because of what happened beside it. */
const MAX_ATTEMPTS = 5;

const contended = (): Error =>
  unavailable('NAME_CONTENDED', 'others are changing a run of this name; send it again');

function reasonOf(row: RunRow, run: NewRun): ExistsReason {
  return row.digest.equals(run.digest) ? 'RUN_EXISTS' : 'SPEC_CONFLICT';
}

/** The first request of each name, in the order in which everybody inserts, and the others. */
function byName<T extends { readonly run: NewRun }>(requests: readonly T[]): { firsts: T[]; repeats: T[] } {
  const firsts = new Map<string, T>();
  const repeats: T[] = [];
  for (const request of requests) {
    const name = runNameOf(request.run);
    if (firsts.has(name)) repeats.push(request);
    else firsts.set(name, request);
  }
  const sorted = [...firsts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, request]) => request);
  return { firsts: sorted, repeats };
}

/** What stands under the names of these runs, by resource name: on the day of an ad-hoc name, else on the day asked for. */
async function existingRuns(db: RunDb, runs: readonly NewRun[]): Promise<Map<string, RunRow>> {
  if (runs.length === 0) return new Map();
  const named = await selectNamedKeys(
    db,
    runs.filter((run) => run.takes_name),
  );
  const keys = new Map<string, RunKey>(runs.map((run) => [runNameOf(run), run]));
  for (const key of named) keys.set(runNameOf(key), key);
  const rows = await selectRuns(db, [...keys.values()]);
  return new Map(rows.map((row) => [runNameOf(row), row]));
}

/** Whether the same insert may well succeed at once: nothing was written. */
function passes(error: unknown): boolean {
  const state = sqlState(error);
  // The check of a partition: it was made while the statement was on its way to the default one.
  return state === LATE_RUN_STATE || state === SqlState.checkViolation || isConflict(error);
}

/** Data exceptions, violated constraints, exceeded limits: of some row, or of each. */
function isFaultOfRow(error: unknown): boolean {
  const state = sqlState(error)?.slice(0, 2);
  return state === '22' || state === '23' || state === '54';
}
