import { sleep } from '@carillon/core/clock.ts';
import type { ReplicaState } from '@carillon/db/tables/scheduler-replicas.ts';
import { reportDatabaseChange } from './database-change.ts';
import type { Lease } from './leadership.ts';
import type { ShardGauged } from './metrics.ts';
import { Standby } from './standby.ts';
import { Term, type TermOptions } from './term.ts';

/** Who leads after a hand-over. */
export interface Successor {
  readonly owner: string;
  readonly epoch: number;
}

/** How often a replica that gave up its lease looks who has it. */
const SUCCESSOR_POLL_MS = 10;

/** A pause before the next try when a term could not begin. */
const BEGIN_RETRY_MS = 500;
/** How long a release may begin flushes for: nobody fires meanwhile. */
const WRITE_OUT_LIMIT_MS = 1_000;

/** Contends for the leadership of a shard, and works while it leads: one term after another. */
export class Scheduler {
  readonly #o: TermOptions;
  readonly #stop = new AbortController();
  #term: Term | undefined;
  #running: Promise<void> = Promise.resolve();
  /** While it does not lead. */
  #standby: Standby | undefined;
  /** Until it has contended for the first time. */
  #isFirst = true;
  /** Made before it contends, for its first term. */
  #prepared: Standby | undefined;
  #draining = false;
  /** While a hand-over is under way: resolves when another leads, or to undefined when none does in time. */
  #successor: Promise<Successor | undefined> | undefined;

  constructor(options: TermOptions) {
    this.#o = options;
  }

  /** The shard's name. */
  get shard(): string {
    return this.#o.shard;
  }

  /** The present term; undefined while standing by. */
  get term(): Term | undefined {
    return this.#term;
  }

  /** What this replica does. */
  get state(): ReplicaState {
    if (this.#draining) return 'DRAINING';
    if (this.#term?.lease.trusted) return 'LEADING';
    return this.#standby?.isReady ? 'STANDBY_READY' : 'STARTING';
  }

  /** Has everything in memory before it contends: to be called before `start`, if at all. */
  async prepare(): Promise<void> {
    this.#prepared = new Standby(this.#o);
    await this.#prepared.prepare();
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Looks at the lease now: it may have been released. */
  wake(): void {
    this.#o.leadership.wake();
  }

  /** Time may have passed unseen: the lease is not trusted until it is renewed. */
  doubt(): void {
    this.#o.leadership.doubt();
  }

  /** What the metrics show of the shard. */
  gauged(): ShardGauged {
    const term = this.#term;
    const nowMs = this.#o.databaseClock.now();
    const frontierMs = term?.watermarks.frontierMs ?? Number.NEGATIVE_INFINITY;
    return {
      leading: term?.lease.trusted ?? false,
      schedules: term?.engine.schedules.size ?? 0,
      ready: term?.engine.readySize ?? 0,
      outstanding: term?.engine.outstandingSize ?? 0,
      retries: term?.executor.retrySize ?? 0,
      callsInFlight: term?.executor.callsInFlight ?? 0,
      laggards: term?.engine.checkpoints.laggardSize ?? 0,
      quarantined: term?.engine.quarantinedSize ?? 0,
      watermarkAgeSeconds: Number.isFinite(frontierMs) ? (nowMs - frontierMs) / 1000 : 0,
      feedLagSeconds: term ? term.feed.lagMs / 1000 : 0,
      epoch: term?.lease.epoch ?? 0,
      backlog: term?.engine.backlogSize() ?? 0,
    };
  }

  /** Schedules may have changed. */
  changed(): void {
    if (this.#term) {
      this.#quietly('the feed could not be read; the next poll tries again', () => this.#term?.feed.poll());
    } else this.#prepare();
  }

  /** Dead slots may have been asked to be sent again. */
  redriven(): void {
    this.#quietly('redrives could not be read or written down; the next poll tries again', () =>
      this.#term?.redrive(),
    );
  }

  /** Records the slots of pauses that have ended. */
  recordPauses(): void {
    this.#quietly('ended pauses could not be recorded; the next beat tries again', () =>
      this.#term?.recordPauses(),
    );
  }

  /** The listening connection was made anew: what was announced meanwhile is unknown, and the database may have crashed. */
  listening(): void {
    this.#term?.feed.rewind();
    this.#standby?.discard();
    this.changed();
    this.redriven();
  }

  /** Writes down what is settled. */
  async flush(): Promise<void> {
    await this.#term?.watermarks.flush();
  }

  /** Says how far catching up has come, while there is anything to catch up. */
  reportCatchUp(): void {
    this.#term?.catchUpReport.report();
  }

  /** Compares everything with the database. */
  compareAll(): void {
    this.#quietly('the full comparison failed; the next one tries again', () =>
      this.#term?.feed.compareAll(),
    );
  }

  /** Sends nothing new, writes down what is settled, and gives the lease up for good. Its loops may end later: a read may be under way. */
  async release(): Promise<void> {
    this.#stop.abort(new Error('shutting down'));
    this.#draining = true;
    await this.#giveUp();
  }

  /**
   * Gives the lease to whoever takes it, and stands by. Undefined if nobody does within `waitMs`: this replica contends again then.
   *
   * @throws {Error} if it does not lead
   */
  async handOver(waitMs: number): Promise<Successor | undefined> {
    const term = this.#term;
    if (!term?.lease.trusted) throw new Error('this replica does not lead');
    const { epoch } = term.lease;
    const { promise, resolve, reject } = Promise.withResolvers<Successor | undefined>();
    this.#successor = promise;
    try {
      await this.#giveUp();
      resolve(await this.#awaitSuccessor(epoch, waitMs));
    } catch (error) {
      reject(error);
    }
    return await promise;
  }

  async #giveUp(): Promise<void> {
    const term = this.#term;
    term?.stop();
    await term?.watermarks.writeOut(WRITE_OUT_LIMIT_MS);
    await this.#o.leadership.release();
  }

  async #awaitSuccessor(epoch: number, waitMs: number): Promise<Successor | undefined> {
    const { clock, store } = this.#o;
    const endMs = clock.monotonic() + waitMs;
    while (clock.monotonic() < endMs && !this.#stop.signal.aborted) {
      const lease = (await store.readLeases()).find(({ shard }) => shard === this.#o.shard);
      if (lease && lease.epoch > epoch && lease.owner !== null)
        return { owner: lease.owner, epoch: lease.epoch };
      await sleep(clock, SUCCESSOR_POLL_MS);
    }
    return undefined;
  }

  /** Stops at once: what is unsettled is another's to find, or the next start's. */
  abandon(): void {
    this.#stop.abort(new Error('the scheduler is closed'));
    this.#term?.stop();
  }

  /** Resolves when its loops have ended. */
  async ended(): Promise<void> {
    await this.#running;
  }

  /** Waits for the answers of what is in flight. Nothing of it is sent again. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#term?.executor.drained(signal);
  }

  async #run(): Promise<void> {
    const { leadership, logger, clock } = this.#o;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#yieldTo();
        const standby = this.#prepared ?? new Standby(this.#o);
        this.#standby = this.#prepared;
        this.#prepared = undefined;
        // A lease that nobody holds when this replica starts is taken at once: whoever does not hold it has to load everything, too.
        let isFirst = this.#isFirst;
        this.#isFirst = false;
        const mayContend = (): boolean => isFirst || standby.isReady;
        const lease = await leadership.acquire(
          signal,
          () => {
            isFirst = false;
            this.#standby = standby;
            this.#prepare();
          },
          mayContend,
        );
        await this.#lead(lease, standby, signal);
      } catch (error) {
        if (signal.aborted) return;
        logger.error({ err: error }, 'a term failed; the lease is left to others');
        await leadership.release().catch((releaseError: unknown) => {
          logger.warn({ err: releaseError }, 'the lease could not be given back; it runs out');
          leadership.lose('the term failed');
        });
        await sleep(clock, BEGIN_RETRY_MS, signal).catch(() => undefined);
      }
    }
  }

  async #lead(lease: Lease, standby: Standby, signal: AbortSignal): Promise<void> {
    const { leadership, logger } = this.#o;
    const holding = leadership.hold(signal);
    const term = await Term.begin(this.#o, lease, standby);
    this.#term = term;
    this.#standby = undefined;
    logger.info({ epoch: lease.epoch, schedules: term.engine.schedules.size }, 'ready: firing');
    await holding;
    term.stop();
    await term.ended();
    if (!signal.aborted) this.#report(term);
    // While draining the term stays visible: its calls in flight are still awaited.
    if (!signal.aborted) this.#term = undefined;
  }

  /** Says so if the term ended because it is another database. The next one does not wait for that. */
  #report(term: Term): void {
    this.#quietly(
      'the database could not be asked whether it is another; what it may have lost is not told',
      () => reportDatabaseChange(this.#o, term),
    );
  }

  /** While a hand-over is under way, another is let pass first. */
  async #yieldTo(): Promise<void> {
    await this.#successor?.catch((error: unknown) => {
      this.#o.logger.warn({ err: error }, 'a hand-over failed; contending again');
    });
    this.#successor = undefined;
  }

  /** Has everything in memory, for when it leads. */
  #prepare(): void {
    const standby = this.#standby;
    this.#quietly('a standby could not read the schedules; the next beat tries again', async () => {
      const wasReady = standby?.isReady;
      await standby?.prepare();
      if (!wasReady && standby?.isReady) this.#o.leadership.wake();
    });
  }

  #quietly(problem: string, work: () => Promise<void> | undefined): void {
    work()?.catch((error: unknown) => this.#o.logger.warn({ err: error }, problem));
  }
}
