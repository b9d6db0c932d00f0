import { type DevProcess, type DevState, writeDevState } from './dev-file.ts';

/** Keeps `.carillon/dev.json` true while things start and die. Writes follow one another. */
export class DevRecord {
  readonly #path: string;
  readonly #processes = new Map<string, DevProcess>();
  #state: DevState;
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(path: string, state: DevState) {
    this.#path = path;
    this.#state = state;
    for (const process of state.processes) this.#processes.set(process.name, process);
  }

  /** Changes what the file says. */
  update(change: Partial<Omit<DevState, 'version' | 'processes'>>): void {
    this.#write({ ...this.#state, ...change });
  }

  /** Notes the process that plays a part now. */
  processStarted(process: DevProcess): void {
    this.#processes.set(process.name, process);
    this.#write({ ...this.#state, processes: [...this.#processes.values()] });
  }

  /** After a clean stop: nothing runs any more, the rest stays for the next start. */
  stopped(): void {
    this.#processes.clear();
    this.#write({ ...this.#state, running: false, pid: 0, processes: [] });
  }

  /** Resolves when the file says what it should. Rejects when it could not be written. */
  async saved(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #write(state: DevState): void {
    this.#state = state;
    this.#writing = this.#writing.then(async () => {
      // A newer state is on its way: that one will be written.
      if (state !== this.#state) return;
      try {
        await writeDevState(this.#path, state);
        this.#failure = undefined;
      } catch (error) {
        this.#failure = error;
      }
    });
  }
}
