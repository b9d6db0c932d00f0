import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const LIBRARIES: readonly string[] = [
  ...['x86_64', 'aarch64'].map((cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketimeMT.so.1`),
  '/usr/lib/faketime/libfaketimeMT.so.1',
  '/usr/local/lib/faketime/libfaketimeMT.so.1',
];
const SHARED_MEMORY = '/dev/shm';

/**
 * The wall clock of every process that runs with its environment, by libfaketime: all of them step together, at once. Monotonic clocks
 * go on as they are, as they do when an administrator sets a clock.
 */
export class FakeTime {
  /** To be added to the environment of each process. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #folder: string;
  #aheadMs = 0;

  private constructor(library: string, folder: string) {
    this.#folder = folder;
    this.environment = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      // The times of files are nobody's business here.
      NO_FAKE_STAT: '1',
    };
  }

  /** Why there can be none on this machine, and how to get it; undefined when there can. */
  static missing(): string | undefined {
    return LIBRARIES.some((path) => existsSync(path))
      ? undefined
      : 'libfaketime is not installed (Debian: apt-get install libfaketime)';
  }

  /** Makes one that shows the true time until it is set. */
  static start(): FakeTime {
    const library = LIBRARIES.find((path) => existsSync(path));
    if (library === undefined) throw new Error(FakeTime.missing());
    const folder = mkdtempSync(join(tmpdir(), 'carillon-time-'));
    // PostgreSQL's user reads it too.
    chmodSync(folder, 0o755);
    const time = new FakeTime(library, folder);
    time.#set(0);
    return time;
  }

  /** Epoch milliseconds, as those processes see it. */
  now(): number {
    return Date.now() + this.#aheadMs;
  }

  /** Sets the wall clock on, or back. */
  step(ms: number): void {
    this.#set(this.#aheadMs + ms);
  }

  /** To be called when those processes have ended. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    // The library cannot tidy up in a process that is killed.
    for (const name of existsSync(SHARED_MEMORY) ? readdirSync(SHARED_MEMORY) : []) {
      const pid = /^(?:sem\.faketime_sem|faketime_shm)_(\d+)$/.exec(name)?.[1];
      if (pid !== undefined && !existsSync(`/proc/${pid}`))
        rmSync(join(SHARED_MEMORY, name), { force: true });
    }
  }

  get #file(): string {
    return join(this.#folder, 'ahead');
  }

  #set(aheadMs: number): void {
    // Renamed, so that nobody ever reads half of it.
    writeFileSync(
      `${this.#file}.new`,
      `${aheadMs < 0 ? '-' : '+'}${(Math.abs(aheadMs) / 1000).toFixed(3)}\n`,
    );
    renameSync(`${this.#file}.new`, this.#file);
    this.#aheadMs = aheadMs;
  }
}
