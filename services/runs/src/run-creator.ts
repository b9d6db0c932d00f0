import type { Clock } from '@carillon/core/clock.ts';
import { failedPrecondition, unavailable } from '@carillon/core/domain-error.ts';
import { isConflict, SqlState, sqlState, transaction } from '@carillon/db';
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
import { type DecidedInsert, insertDecided, stateOf } from './keyed-creation.ts';
import type { OverlapDecision } from './overlap.ts';
import type { RunHints } from './run-hints.ts';
import { runNameOf } from './run-message.ts';
import type { RunMetrics } from './run-metrics.ts';

/** What became of a request: the run was created at an instant, in microseconds since the epoch, and decided; or it was refused. */
export type Creation =
  | { readonly createMicros: number; readonly decision: OverlapDecision; readonly error?: undefined }
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
  readonly #plain: GroupCommit<NewRun, Creation>;
  readonly #keyed: GroupCommit<NewRun, Creation>;

  constructor(options: RunCreatorOptions) {
    this.#options = options;
    const group = {
      flush: (runs: readonly NewRun[]) => this.createAll(runs),
      maxItems: MAX_INSERT,
      patienceMs: 25,
      maxWaiting: 20 * MAX_INSERT,
      clock: options.clock,
    };
    this.#plain = new GroupCommit({ ...group, maxFlushes: 4 });
    this.#keyed = new GroupCommit({ ...group, maxFlushes: 2 });
  }

  /** Creates one run, together with others that come at the same time. One without a concurrency key never waits for those that have one. */
  create(run: NewRun): Promise<Creation> {
    return (run.concurrency_key === null ? this.#plain : this.#keyed).submit(run);
  }

  /** Creates up to {@link MAX_INSERT} runs; each succeeds or fails alone. Answers in the order of `runs`. */
  async createAll(runs: readonly NewRun[]): Promise<Creation[]> {
    const { db, hints, metrics } = this.#options;
    const changed: Pick<RunRow, 'phase' | 'queue'>[] = [];
    const creations = new Map<NewRun, Creation>();
    for (const kind of [
      runs.filter((run) => run.concurrency_key === null),
      runs.filter((run) => run.concurrency_key !== null),
    ]) {
      const others: RunRow[] = [];
      for (const [index, creation] of (await this.#createAll(db, kind, others)).entries()) {
        const run = kind[index];
        if (run === undefined) throw new Error('more creations than runs');
        creations.set(run, creation);
        if (creation.createMicros !== undefined) {
          metrics.created(creation.decision.outcome);
          changed.push({ queue: run.queue, phase: stateOf(creation.decision).phase });
        } else metrics.notCreated(creation.error);
      }
      // One that was asked to stop is still in its phase.
      metrics.changed(others.filter(({ phase }) => phase !== 'RUNNING'));
      changed.push(...others);
    }
    hints.changed(changed);
    return runs.map((run) => creations.get(run) ?? { error: contended() });
  }

  /** What creating this run would come to, without creating it. */
  async rehearse(run: NewRun): Promise<Creation> {
    const trx = await this.#options.db.startTransaction().execute();
    try {
      const [creation] = await this.#createAll(trx, [run], []);
      if (creation === undefined) throw new Error('one run came to no creation');
      return creation;
    } finally {
      await trx.rollback().execute();
    }
  }

  /** All of them with a concurrency key, or all without. `others` gets the other runs that changed by it. */
  async #createAll(db: RunDb, runs: readonly NewRun[], others: RunRow[]): Promise<Creation[]> {
    const creations = new Array<Creation | undefined>(runs.length);
    let open = runs.map((run, index) => ({ run, index }));
    for (let round = 0; open.length > 0 && round < MAX_ROUNDS; round++) {
      const { firsts, repeats } = byName(open);
      const inserted = await this.#insert(
        db,
        firsts.map(({ run }) => run),
        others,
      );
      const undecided: { run: NewRun; index: number; gate: InsertedRun['gate'] }[] = [];
      for (const [place, { run, index }] of firsts.entries()) {
        const result = inserted[place];
        if (result instanceof Failure) creations[index] = { error: result.reason };
        else if (result?.create_micros != null) {
          creations[index] = { createMicros: result.create_micros, decision: result.decision };
        } else undecided.push({ run, index, gate: result?.gate ?? 'OPEN' });
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
  async #insert(db: RunDb, runs: readonly NewRun[], others: RunRow[]): Promise<(DecidedRun | Failure)[]> {
    if (runs.length === 0) return [];
    try {
      return await this.#insertPatiently(db, runs, others);
    } catch (error) {
      if (runs.length > 1 && isFaultOfRow(error)) {
        const half = runs.length >> 1;
        return [
          ...(await this.#insert(db, runs.slice(0, half), others)),
          ...(await this.#insert(db, runs.slice(half), others)),
        ];
      }
      return runs.map(() => new Failure(error));
    }
  }

  async #insertPatiently(db: RunDb, runs: readonly NewRun[], others: RunRow[]): Promise<DecidedRun[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const inserted = await this.#insertOnce(db, runs, others);
        this.#options.metrics.inserted(runs.length);
        return inserted;
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || db.isTransaction || !passes(error)) throw error;
      }
    }
  }

  async #insertOnce(db: RunDb, runs: readonly NewRun[], others: RunRow[]): Promise<DecidedRun[]> {
    const { retentionDays } = this.#options;
    if (runs[0]?.concurrency_key === null) {
      const inserted = await insertRuns(db, runs, retentionDays);
      return inserted.map((result) => ({ ...result, decision: UNOPPOSED }));
    }
    const decide = (trx: RunDb): Promise<DecidedInsert> => insertDecided(trx, runs, retentionDays);
    const { inserted, decisions, changed } = db.isTransaction
      ? await decide(db)
      : await transaction(db, {}, decide);
    others.push(...changed);
    return inserted.map((result, index) => {
      const run = runs[index];
      return { ...result, decision: (run && decisions.get(runNameOf(run))) ?? UNOPPOSED };
    });
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
}

/** An insert, and the decision on the run: of no meaning if it was not created. */
interface DecidedRun extends InsertedRun {
  readonly decision: OverlapDecision;
}

/** The decision on a run that shares nothing. */
const UNOPPOSED: OverlapDecision = { outcome: 'STARTED' };

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
