import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { ProcessState } from '../supervised-process.ts';

/** A part of what `carillon dev` runs. */
export interface Component {
  readonly name: string;
  /** Where it listens, for people; empty if nowhere. */
  readonly address: string;
  readonly state: ProcessState;
  /** How often it was started again. */
  readonly restarts: number;
}

/** A slot that lies ahead. */
export interface UpcomingFire {
  /** The schedule's resource name. */
  readonly schedule: string;
  /** When it fires, as it was written. */
  readonly pattern: string;
  /** Epoch milliseconds. */
  readonly dueMs: number;
  /** When the slot before was due, epoch milliseconds: where the countdown began. */
  readonly sinceMs: number;
}

/** A run, and how late it was fired. */
export interface SeenRun {
  readonly run: Run;
  /** Fire time minus due time in milliseconds; undefined for what was not fired by a schedule, or is not known. */
  readonly latenessMs: number | undefined;
  /** It fell due when nothing fired, and was caught up on: its lateness is that of the interruption. */
  readonly missed: boolean;
}

/** What a person is shown of a running `carillon dev`. */
export interface DevView {
  /** A part changed its state. */
  component(component: Component): void;
  /** Something worth a line; `source` is the part that it comes from. */
  note(source: string, text: string): void;
  /** All slots that lie ahead, the nearest first; a new list replaces the one before. */
  upcoming(fires: readonly UpcomingFire[], schedules: number): void;
  /** A run in a new state. `history`: it was there before we looked. */
  run(seen: SeenRun, history: boolean): void;
  /** Shows nothing more, and gives the terminal back. */
  close(): void;
}

/** What a process does, in a few words. */
export function stateWords({ state, restarts }: Component, monotonicMs: number): string {
  const again = restarts === 0 ? '' : `, restarted ${restarts === 1 ? 'once' : `${restarts} times`}`;
  switch (state.kind) {
    case 'unready':
      return `${state.reason}${again}`;
    case 'waiting': {
      const seconds = Math.ceil((state.restartAt - monotonicMs) / 1_000);
      return `${state.exit}, starting again${seconds > 1 ? ` in ${seconds} s` : ''}`;
    }
    default:
      return `${state.kind}${again}`;
  }
}
