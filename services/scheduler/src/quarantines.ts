import { storableText } from '@carillon/core/storable-text.ts';
import type { Quarantine } from '@carillon/db/tables/schedule-quarantines.ts';
import type { SchedulerStore } from './scheduler-store.ts';

/** How long a reason may be, in characters. */
const MOST_CHARACTERS = 1_000;

/** Which schedules are in quarantine. A leader says so on the schedules themselves. */
export class Quarantines {
  readonly #store: Pick<SchedulerStore, 'writeQuarantines' | 'liftQuarantines' | 'liftOtherQuarantines'>;
  readonly #all = new Map<number, Quarantine>();
  readonly #unwritten = new Set<number>();
  readonly #unlifted = new Set<number>();
  #announces = false;
  #liftsOthers = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(store: Pick<SchedulerStore, 'writeQuarantines' | 'liftQuarantines' | 'liftOtherQuarantines'>) {
    this.#store = store;
  }

  /** Whether they are said on the schedules themselves. */
  get announces(): boolean {
    return this.#announces;
  }

  get all(): readonly Quarantine[] {
    return [...this.#all.values()];
  }

  /** A schedule cannot be planned, or what became of its slots cannot be written down. */
  add(quarantine: Quarantine): void {
    const { schedule, reason } = quarantine;
    this.#all.set(schedule, { ...quarantine, reason: storableText(reason, MOST_CHARACTERS) });
    this.#unlifted.delete(schedule);
    this.#unwritten.add(schedule);
  }

  /** A schedule goes on. */
  lift(schedule: number): void {
    if (!this.#all.delete(schedule)) return;
    this.#unwritten.delete(schedule);
    this.#unlifted.add(schedule);
  }

  /** Says from now on on the schedules themselves which of them are in quarantine; all others are lifted, whoever wrote them. */
  async announce(): Promise<void> {
    this.#announces = true;
    this.#liftsOthers = true;
    for (const schedule of this.#all.keys()) this.#unwritten.add(schedule);
    await this.write();
  }

  /** Writes down what has changed, once it announces. What cannot be written is left for the next call. */
  async write(): Promise<void> {
    if (!this.#announces) return;
    if (this.#unwritten.size === 0 && this.#unlifted.size === 0 && !this.#liftsOthers) return;
    // One after another, so that what is lifted is not written afterwards.
    const writing = this.#writing.catch(() => undefined).then(() => this.#write());
    this.#writing = writing;
    await writing;
  }

  async #write(): Promise<void> {
    const written = this.all.filter(({ schedule }) => this.#unwritten.has(schedule));
    if (written.length > 0) {
      await this.#store.writeQuarantines(written);
      for (const quarantine of written) {
        const { schedule } = quarantine;
        if (this.#all.get(schedule) === quarantine) this.#unwritten.delete(schedule);
      }
    }
    const lifted = [...this.#unlifted];
    if (lifted.length > 0) {
      await this.#store.liftQuarantines(lifted);
      for (const schedule of lifted) if (!this.#all.has(schedule)) this.#unlifted.delete(schedule);
    }
    if (this.#liftsOthers) {
      await this.#store.liftOtherQuarantines([...this.#all.keys()]);
      this.#liftsOthers = false;
    }
  }
}
