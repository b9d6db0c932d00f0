import { timestampMs } from '@bufbuild/protobuf/wkt';
import { RunPhase } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { isTerminal } from '../../runs/run-phase.ts';
import type { Component, SeenRun, UpcomingFire } from './dev-view.ts';
import { LatenessWindow } from './lateness-window.ts';

/** Something worth a line. */
export interface Note {
  /** Epoch milliseconds. */
  readonly atMs: number;
  readonly source: string;
  readonly text: string;
}

const RUNS_KEPT = 200;
const NOTES_KEPT = 50;
const LATENESS_KEPT = 200;

/** What the live view draws: the present state of everything, kept small. */
export class Board {
  readonly components = new Map<string, Component>();
  /** Of live slots. */
  readonly lateness = new LatenessWindow(LATENESS_KEPT);
  readonly totals = { succeeded: 0, failed: 0 };
  /** The runs of slots that were missed, and the greatest lateness among them in milliseconds. */
  readonly caughtUp = { count: 0, worstMs: 0 };
  upcoming: readonly UpcomingFire[] = [];
  schedules = 0;
  #runs = new Map<string, SeenRun>();
  #notes: Note[] = [];

  /** The newest notes, the last one last. */
  get notes(): readonly Note[] {
    return this.#notes;
  }

  /** The runs fired last, the newest first. */
  get runs(): readonly SeenRun[] {
    return [...this.#runs.values()].sort(
      (a, b) => firedMs(b) - firedMs(a) || (a.run.name < b.run.name ? 1 : -1),
    );
  }

  addNote(note: Note): void {
    this.#notes.push(note);
    if (this.#notes.length > NOTES_KEPT) this.#notes.shift();
  }

  /** Takes a run's new state; `history` counts neither for lateness nor for totals. */
  addRun(seen: SeenRun, history: boolean): void {
    const before = this.#runs.get(seen.run.name);
    // History is read beside the stream, and may be older than what the stream told.
    if (before !== undefined && before.run.version > seen.run.version) return;
    const { latenessMs, missed } = before?.latenessMs === undefined ? seen : before;
    this.#runs.set(seen.run.name, { run: seen.run, latenessMs, missed });
    if (!history) {
      if (before === undefined) this.#addLateness(seen);
      if (isTerminal(seen.run) && !(before !== undefined && isTerminal(before.run))) {
        if (seen.run.phase === RunPhase.SUCCEEDED) this.totals.succeeded += 1;
        else this.totals.failed += 1;
      }
    }
    if (this.#runs.size > RUNS_KEPT * 2) {
      this.#runs = new Map(this.runs.slice(0, RUNS_KEPT).map((kept) => [kept.run.name, kept]));
    }
  }

  #addLateness({ latenessMs, missed }: SeenRun): void {
    if (latenessMs === undefined) return;
    if (missed) {
      this.caughtUp.count += 1;
      this.caughtUp.worstMs = Math.max(this.caughtUp.worstMs, latenessMs);
    } else this.lateness.add(latenessMs);
  }
}

/** When it was fired, epoch milliseconds. */
export function firedMs({ run }: SeenRun): number {
  const time = run.fireTime ?? run.createTime;
  return time === undefined ? 0 : timestampMs(time);
}
