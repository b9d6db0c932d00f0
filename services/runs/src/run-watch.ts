import type { Clock, Timer } from '@carillon/core/clock.ts';
import { resourceExhausted } from '@carillon/core/domain-error.ts';
import type { ParentPattern } from '@carillon/core/resource-name.ts';
import type { RunRow } from '@carillon/db/tables/runs.ts';
import type { FeedFollower } from './run-feed.ts';
import { runNameOf } from './run-message.ts';

/** Which runs are watched. */
export interface WatchedRuns extends ParentPattern {
  /** Only runs of this schedule, by the last segment of its name. */
  readonly scheduleId: string | undefined;
  /** Only runs of these resource names. */
  readonly names: ReadonlySet<string> | undefined;
}

/** The most runs that wait for a slow watcher. */
const MAX_WAITING = 4_096;

/**
 * What one watcher has not been told yet: the latest state of each run, so that a watcher who is slow skips states, and memory
 * is bounded by runs and not by changes.
 */
export class RunWatch implements FeedFollower {
  readonly #watched: WatchedRuns;
  readonly #clock: Clock;
  readonly #waiting = new Map<string, RunRow>();
  readonly #told = new Map<string, bigint>();
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(watched: WatchedRuns, clock: Clock) {
    this.#watched = watched;
    this.#clock = clock;
  }

  changed(rows: readonly RunRow[]): void {
    for (const row of rows) if (this.#matches(row)) this.#wait(row);
    if (this.#waiting.size > MAX_WAITING) {
      this.#waiting.clear();
      this.lost(resourceExhausted('WATCH_TOO_SLOW', 'the watcher is too far behind: watch again'));
    }
    this.#wake?.();
  }

  lost(reason: Error): void {
    this.#failure ??= reason;
    this.#wake?.();
  }

  /** The runs that have changed, when there are some; none after `silenceMs` without. @throws what {@link lost} was called with. */
  async next(silenceMs: number): Promise<RunRow[]> {
    if (this.#waiting.size === 0 && this.#failure === undefined) await this.#change(silenceMs);
    if (this.#waiting.size === 0 && this.#failure !== undefined) throw this.#failure;
    const rows = [...this.#waiting.values()];
    this.#waiting.clear();
    // The feed may tell a change twice. Of runs that are watched by name it is remembered what was told.
    if (this.#watched.names !== undefined)
      for (const row of rows) this.#told.set(runNameOf(row), row.version);
    return rows;
  }

  async #change(silenceMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer: Timer = this.#clock.after(silenceMs, resolve);
    this.#wake = resolve;
    await promise;
    this.#wake = undefined;
    timer.cancel();
  }

  #wait(row: RunRow): void {
    const name = runNameOf(row);
    const known = this.#waiting.get(name)?.version ?? this.#told.get(name) ?? 0n;
    if (row.version > known) this.#waiting.set(name, row);
  }

  #matches(row: RunRow): boolean {
    const { project, domain, scheduleId, names } = this.#watched;
    return (
      (project === undefined || row.project === project) &&
      (domain === undefined || row.domain === domain) &&
      (scheduleId === undefined || row.schedule_id === scheduleId) &&
      (names === undefined || names.has(runNameOf(row)))
    );
  }
}
