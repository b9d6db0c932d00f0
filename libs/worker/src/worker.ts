import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { backoffMs } from '@carillon/core/backoff.ts';
import { type Clock, type Entropy, MAX_TIMER_MS, sleep } from '@carillon/core/clock.ts';
import { type Lease, WorkerService } from '@carillon/gen/carillon/run/v1/worker_service_pb.ts';
import type { Logger } from '@carillon/server';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { attempt } from './answer.ts';
import { HeldRun } from './held-run.ts';
import { OutageLog } from './outage-log.ts';
import { Reporter } from './reporter.ts';
import type { StopCause, TaskHandler } from './task.ts';

/** What a worker is made of. */
export interface WorkerOptions {
  /** To a WorkerService. It stays its owner's. */
  readonly transport: Transport;
  /** A name that is unique among living workers, e.g. host, process and start time. */
  readonly worker: string;
  /** The queues to lease from. Default: `default`. */
  readonly queues?: readonly string[];
  /** How many runs to work on at once. Default 1. */
  readonly slots?: number;
  /** Software and version, for people. Default: none. */
  readonly version?: string;
  /** The handlers by the names of their tasks. */
  readonly handlers: Readonly<Record<string, TaskHandler>>;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
}

/** A worker: leases runs, works on them, and answers. */
export interface Worker {
  /** How many runs it works on at present. */
  readonly active: number;
  /** Begins; resolves when the service knows it. While that is out of reach it goes on trying. */
  start(): Promise<void>;
  /**
   * Leases nothing more, and waits for the runs it works on; those that are not done after `limitMs` are asked to stop, and
   * get a few seconds for it. Resolves when all of them are answered or given up. Later calls wait for the same end.
   */
  drain(limitMs: number): Promise<void>;
  /** Asks every run to stop, at once. */
  stop(): Promise<void>;
}

/** How long one call waits for a run. */
const LEASE_WAIT_MS = 30_000;

/** What calls may take beyond what they wait for. */
const CALL_TIMEOUT_MS = 10_000;

/** A call under way at the drain may bring runs: one that is cut off may have been leased some just then. */
const LAST_LEASE_MS = 300;

/** What asking handlers to stop may take, and then what telling the service may. */
const STOP_LIMIT_MS = 8_000;
const LAST_WORDS_MS = 5_000;

const BACKOFF = { initialMs: 200, maxMs: 5_000 };

/** The most leases of one heartbeat. */
const MAX_HEARTBEAT = 1_000;

/** Makes a worker; {@link Worker.start} begins. */
export function createWorker(options: WorkerOptions): Worker {
  return new LeasingWorker(options);
}

/** What the service told at the registration. */
interface Rhythm {
  readonly leaseTtlMs: number;
  readonly heartbeatMs: number;
}

class LeasingWorker implements Worker {
  readonly #options: WorkerOptions;
  readonly #client: Client<typeof WorkerService>;
  readonly #reporter: Reporter;
  readonly #handlers: ReadonlyMap<string, TaskHandler>;
  readonly #queues: string[];
  readonly #slots: number;
  readonly #held = new Map<HeldRun, Promise<void>>();
  /** No more leases. */
  readonly #draining = new AbortController();
  /** The lease call under way is cut off. */
  readonly #hangUp = new AbortController();
  /** Nothing is told any more. */
  readonly #end = new AbortController();
  #slotFreed: (() => void) | undefined;
  #leasing: Promise<void> | undefined;
  #beating: Promise<void> | undefined;
  #drained: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    const { transport, clock, entropy, queues = ['default'], slots = 1 } = options;
    if (!(Number.isSafeInteger(slots) && slots >= 1)) throw new RangeError(`a worker with ${slots} slots`);
    this.#options = options;
    this.#client = createClient(WorkerService, transport);
    this.#reporter = new Reporter({ client: this.#client, clock, entropy });
    // Not by property: a task may be called like one that every object has.
    this.#handlers = new Map(Object.entries(options.handlers));
    this.#queues = [...queues];
    this.#slots = slots;
  }

  get active(): number {
    return this.#held.size;
  }

  start(): Promise<void> {
    if (this.#leasing !== undefined) throw new Error('the worker was started before');
    return new Promise((resolve, reject) => {
      this.#leasing = this.#leaseUntilDrained(resolve).finally(() =>
        reject(new Error('the worker was stopped before the service knew it')),
      );
    });
  }

  drain(limitMs: number): Promise<void> {
    this.#drained ??= this.#drain(limitMs);
    return this.#drained;
  }

  stop(): Promise<void> {
    const drained = this.drain(0);
    this.#stopAll('WORKER_STOPPING');
    return drained;
  }

  async #leaseUntilDrained(registered: () => void): Promise<void> {
    const { clock, entropy, logger } = this.#options;
    const draining = this.#draining.signal;
    const outage = new OutageLog(logger);
    let rhythm: Rhythm | undefined;
    while (!draining.aborted) {
      try {
        if (rhythm === undefined) {
          rhythm = await this.#register();
          outage.reached();
          registered();
          this.#beating ??= this.#beat(rhythm);
        }
        await this.#leaseOnce(rhythm);
        outage.succeeded();
      } catch (error) {
        if (draining.aborted) return;
        outage.failed(error);
        // It may be another server by now, or one that has forgotten.
        rhythm = undefined;
        const delayMs = backoffMs(BACKOFF, outage.failures, entropy.fraction());
        await sleep(clock, delayMs, draining).catch(() => undefined);
      }
    }
  }

  async #register(): Promise<Rhythm> {
    const { worker, version = '' } = this.#options;
    const { leaseTtl, heartbeatInterval } = await this.#client.registerWorker(
      { worker, queues: this.#queues, slots: this.#slots, version },
      { signal: this.#draining.signal, timeoutMs: CALL_TIMEOUT_MS },
    );
    const ms = (duration: typeof leaseTtl): number =>
      duration === undefined ? 0 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
    const rhythm = { leaseTtlMs: ms(leaseTtl), heartbeatMs: ms(heartbeatInterval) };
    if (!(rhythm.leaseTtlMs > 0 && rhythm.heartbeatMs > 0)) {
      throw new Error('the service did not say how long leases last');
    }
    return rhythm;
  }

  async #leaseOnce({ leaseTtlMs }: Rhythm): Promise<void> {
    while (this.#held.size >= this.#slots && !this.#draining.signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#slotFreed = resolve;
      await promise;
    }
    if (this.#draining.signal.aborted) return;
    const { leases } = await this.#client.leaseRuns(
      {
        worker: this.#options.worker,
        queues: this.#queues,
        maxRuns: Math.min(500, this.#slots - this.#held.size),
        wait: durationFromMs(LEASE_WAIT_MS),
      },
      { signal: this.#hangUp.signal, timeoutMs: LEASE_WAIT_MS + CALL_TIMEOUT_MS },
    );
    for (const lease of leases) this.#begin(lease, leaseTtlMs);
  }

  #begin(lease: Lease, leaseTtlMs: number): void {
    const held = new HeldRun(lease, this.#options.clock, leaseTtlMs);
    const done = this.#work(held).finally(() => {
      held.release();
      this.#held.delete(held);
      this.#slotFreed?.();
    });
    this.#held.set(held, done);
  }

  async #work(held: HeldRun): Promise<void> {
    const { run } = held;
    const logger = this.#options.logger.child({ run: run.name, attempt: run.attempt });
    const answer = await attempt(held, this.#handlers.get(run.spec?.task ?? ''), logger);
    if (held.taken) {
      logger.warn({ succeeded: answer.succeeded }, 'the attempt ended after its lease was lost');
      return;
    }
    await this.#reporter.report(held, answer, logger, this.#end.signal);
  }

  /** Sends heartbeats until the worker has ended, through the drain too. */
  async #beat(rhythm: Rhythm): Promise<void> {
    const { clock, logger } = this.#options;
    const end = this.#end.signal;
    for (;;) {
      await sleep(clock, Math.min(rhythm.heartbeatMs, MAX_TIMER_MS), end).catch(() => undefined);
      if (end.aborted) return;
      const held = [...this.#held.keys()];
      for (let from = 0; from === 0 || from < held.length; from += MAX_HEARTBEAT) {
        try {
          await this.#heartbeat(held.slice(from, from + MAX_HEARTBEAT), rhythm);
        } catch (error) {
          if (!end.aborted) logger.warn({ err: error }, 'a heartbeat failed');
        }
      }
    }
  }

  async #heartbeat(held: readonly HeldRun[], { heartbeatMs, leaseTtlMs }: Rhythm): Promise<void> {
    const sentAt = this.#options.clock.monotonic();
    const { results } = await this.#client.heartbeat(
      { worker: this.#options.worker, leases: held.map(({ ref }) => ref) },
      { signal: this.#end.signal, timeoutMs: Math.min(heartbeatMs, CALL_TIMEOUT_MS) },
    );
    for (const [index, result] of results.entries()) {
      const run = held[index];
      if (result.error !== undefined) run?.lose();
      else {
        run?.trustUntil(sentAt + leaseTtlMs);
        if (result.abort) run?.stop('ABORTED');
      }
    }
  }

  async #drain(limitMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#draining.abort(new Error('the worker drains'));
    this.#slotFreed?.();
    const hangUp = clock.after(LAST_LEASE_MS, () => this.#hangUp.abort(new Error('the worker drains')));
    await this.#leasing?.catch(() => undefined);
    hangUp.cancel();
    await this.#settle(limitMs);
    this.#stopAll('WORKER_STOPPING');
    await this.#settle(STOP_LIMIT_MS);
    const { logger } = this.#options;
    for (const { run } of this.#held.keys()) logger.error({ run: run.name }, 'a run did not stop in time');
    this.#end.abort(new Error('the worker has ended'));
    await this.#settle(LAST_WORDS_MS);
    await this.#beating;
  }

  /** Resolves when no run is left, or after the limit. */
  async #settle(limitMs: number): Promise<void> {
    if (this.#held.size === 0) return;
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.after(Math.min(limitMs, MAX_TIMER_MS), resolve);
    await Promise.race([Promise.all(this.#held.values()), over]);
    timer.cancel();
  }

  #stopAll(cause: StopCause): void {
    for (const held of this.#held.keys()) held.stop(cause);
  }
}
