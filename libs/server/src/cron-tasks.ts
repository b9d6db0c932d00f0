import { type Clock, sleep } from '@carillon/core/clock.ts';
import cron, { type ScheduledTask } from 'node-cron';

/** Something that is done at times of the wall clock. */
export interface CronTask {
  readonly name: string;
  /** As node-cron reads it, in the process's time zone. Not more often than every few minutes: that is for a timer. */
  readonly expression: string;
  /** A call that is still under way when the next is due leaves that one out. Must not reject. */
  readonly work: () => Promise<void>;
}

/** How often it is looked whether the wall clock was set. */
const LOOK_MS = 1_000;
/** The wall clock may part from the monotonic one by this much between two looks before it counts as set. */
const STEP_MS = 1_000;

/**
 * Runs tasks by node-cron, and has it begin anew whenever the wall clock was set or the machine was suspended. By itself it is silent
 * until a clock that was set back has come again to where it was; and of a clock that was set on, it visits every time that was left
 * out, at one go: minutes, for some months.
 */
export class CronTasks {
  readonly #clock: Clock;
  readonly #tasks: readonly CronTask[];
  readonly #stop = new AbortController();
  #scheduled: readonly ScheduledTask[] = [];
  #watching: Promise<void> = Promise.resolve();

  constructor(clock: Clock, tasks: readonly CronTask[]) {
    this.#clock = clock;
    this.#tasks = tasks;
  }

  start(): void {
    this.#schedule();
    this.#watching = this.#watch();
  }

  /** Begins nothing more. What is under way goes on. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('the tasks end'));
    await this.#watching;
    await Promise.all(this.#scheduled.map((task) => task.destroy()));
  }

  #schedule(): void {
    this.#scheduled = this.#tasks.map(({ name, expression, work }) =>
      cron.schedule(expression, work, { name, noOverlap: true, suppressMissedWarning: true }),
    );
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    const aheadMs = (): number => this.#clock.now() - this.#clock.monotonic();
    let before = aheadMs();
    while (!signal.aborted) {
      // Only the stop cuts the sleep short, and that ends the loop.
      await sleep(this.#clock, LOOK_MS, signal).catch(() => undefined);
      const now = aheadMs();
      if (!signal.aborted && Math.abs(now - before) > STEP_MS) {
        await Promise.all(this.#scheduled.map((task) => task.destroy()));
        this.#schedule();
      }
      before = now;
    }
  }
}
