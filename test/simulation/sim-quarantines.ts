import type { Quarantine, QuarantinedTime } from '@carillon/db/tables/schedule-quarantines.ts';
import { refill } from './refill.ts';

/** A quarantine as it is stored. */
export interface QuarantineRow extends Quarantine {
  /** By the database's clock. */
  readonly sinceMs: number;
}

/** The statements of `schedule-quarantines.ts` in `libs/db/src/tables`. */
export class SimQuarantines {
  readonly #now: () => number;
  readonly #rows = new Map<number, QuarantineRow>();
  readonly #ended: QuarantinedTime[] = [];

  /** @param now the database's clock */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Keeps all of it; the function brings it back. */
  copy(): () => void {
    const [rows, ended] = [[...this.#rows], [...this.#ended]];
    return () => {
      refill(this.#rows, rows);
      this.#ended.splice(0, Number.POSITIVE_INFINITY, ...ended);
    };
  }

  /** Of a schedule; undefined: it is not in quarantine. */
  find(schedule: number): QuarantineRow | undefined {
    return this.#rows.get(schedule);
  }

  write(quarantines: readonly Quarantine[]): void {
    for (const quarantine of quarantines) {
      const sinceMs = this.#rows.get(quarantine.schedule)?.sinceMs ?? this.#now();
      this.#rows.set(quarantine.schedule, { ...quarantine, sinceMs });
    }
  }

  lift(schedules: Iterable<number>): void {
    for (const schedule of schedules) {
      const row = this.#rows.get(schedule);
      if (!row || !this.#rows.delete(schedule)) continue;
      this.#ended.push(timeOf(row, this.#now()));
    }
  }

  /** @param isOwn whether it is about a schedule */
  liftOthers(schedules: readonly number[], isOwn: (schedule: number) => boolean): void {
    this.lift([...this.#rows.keys()].filter((id) => isOwn(id) && !schedules.includes(id)));
  }

  times(isOwn: (schedule: number) => boolean): QuarantinedTime[] {
    const open = [...this.#rows.values()].map((row) => timeOf(row, this.#now()));
    return [...this.#ended, ...open].filter(({ schedule }) => isOwn(schedule));
  }
}

function timeOf({ schedule, sinceMs, throughSpan }: QuarantineRow, toMs: number): QuarantinedTime {
  return {
    schedule,
    fromMs: Math.floor(sinceMs),
    toMs: Math.floor(Math.max(sinceMs, toMs)),
    throughSpan: throughSpan ?? null,
  };
}
