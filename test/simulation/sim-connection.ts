import { type Caller, never, type World } from './world.ts';

/** The database could not be reached, or nobody knows whether it was. */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError';
}

/** How long a read of the feed may take beside how long other statements may. */
const FEED_READS_LONGER = 3;

/** A scheduler's connections to the database: calls are delayed and lost, answers too, and the process may crash in each of them. */
export class SimConnection {
  readonly #world: World;
  readonly #caller: Caller;
  readonly #limitMs: number;

  constructor(world: World, caller: Caller) {
    this.#world = world;
    this.#caller = caller;
    const { leaseTtlMs, leaseMarginMs } = world.plan.settings;
    this.#limitMs = leaseTtlMs - leaseMarginMs;
  }

  /** A statement that must end before a lease does. */
  statement<T>(name: string, carryOut: () => T): Promise<T> {
    return this.#call(name, carryOut, this.#limitMs);
  }

  /** A part of a read of the feed: the first one, or a further one of the transaction that began in an incarnation of the server. */
  feedRead<T>(name: string, carryOut: () => T, begunIn?: number): Promise<T> {
    return this.#call(name, carryOut, this.#limitMs * FEED_READS_LONGER, begunIn);
  }

  #call<T>(name: string, carryOut: () => T, timeoutMs: number, begunIn?: number): Promise<T> {
    const world = this.#world;
    const caller = this.#caller;
    const { conditions } = world;
    const { process, random } = caller;
    const crash = caller.calls.next();
    if (crash === 'before') caller.crash();
    if (!process.alive) return never();
    return new Promise((resolve, reject) => {
      const fail = (message: string): void => reject(new DatabaseAwayError(message));
      const timer = process.after(timeoutMs, () => fail(`${name} took longer than ${timeoutMs} ms`));
      const answer = (settle: () => void): void => {
        timer.cancel();
        settle();
      };
      if (conditions.databaseCut.has(caller.replica)) return;
      const incarnation = begunIn ?? world.incarnation;
      // What is on its way goes on when its sender is dead.
      world.time.after(world.latencyMs(random), () => {
        if (conditions.databaseDown) {
          world.time.after(0.1, () => answer(() => fail('the connection was refused')), process);
          return;
        }
        if (world.incarnation !== incarnation) {
          world.time.after(0.1, () => answer(() => fail('the connection was closed')), process);
          return;
        }
        const result = carryOut();
        if (crash === 'carried-out') caller.crash();
        const { lostAnswers } = world.plan.settings;
        if (conditions.databaseCut.has(caller.replica) || world.happens(lostAnswers, random)) return;
        world.time.after(
          world.latencyMs(random),
          () => {
            if (crash === 'answered') caller.crash();
            if (process.alive) answer(() => resolve(result));
          },
          process,
        );
      });
    });
  }
}
