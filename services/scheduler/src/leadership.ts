import type { Clock } from '@carillon/core/clock.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
import type { LeaseGrant, ObservedLease } from '@carillon/db/tables/scheduler-leases.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import type { SchedulerStore } from './scheduler-store.ts';

/** How leadership is held. */
export interface LeadershipOptions {
  readonly store: SchedulerStore;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly logger: Logger;
  readonly shard: string;
  /** Names this process. A process that starts again under the name of a dead one takes over from it at once. */
  readonly owner: string;
  /** How long a grant lasts. */
  readonly leaseTtlMs: number;
  /** How much earlier than that the holder stops trusting it. */
  readonly leaseMarginMs: number;
  /** How often a standby looks, beside being woken. */
  readonly standbyPollMs: number;
}

/** A held lease. */
export interface Lease {
  readonly epoch: number;
  /** The lineage of the database that granted it: under another one it is worth nothing. */
  readonly lineage: string;
  /** When it began, by the database's clock. No attempt of an earlier holder is created after the expiry that it was granted with. */
  readonly grantedAtMs: number;
  readonly firstExpireMs: number;
  /** The end as last granted, by the database's clock: the `not_after` of what is sent under it. */
  readonly expireMs: number;
  /** Whether it is certain that nobody else holds the lease now: until the start of the last renewal + ttl - margin. */
  readonly trusted: boolean;
  /** Aborts when the lease is known to be lost, or was released. */
  readonly signal: AbortSignal;
}

/** Why a lease is worth nothing any more when a standby was promoted, or a backup restored. */
export const OTHER_DATABASE = 'the database is another than the one that granted the lease';

class HeldLease implements Lease {
  readonly epoch: number;
  readonly lineage: string;
  readonly grantedAtMs: number;
  readonly firstExpireMs: number;
  expireMs: number;
  trustedUntilMs = 0;
  readonly lost = new AbortController();
  readonly #clock: Clock;

  constructor(grant: LeaseGrant, clock: Clock) {
    this.epoch = grant.epoch;
    this.lineage = grant.lineage;
    this.grantedAtMs = grant.databaseNowMs;
    this.firstExpireMs = grant.expireMs;
    this.expireMs = grant.expireMs;
    this.#clock = clock;
  }

  get trusted(): boolean {
    return !this.lost.signal.aborted && this.#clock.monotonic() < this.trustedUntilMs;
  }

  get signal(): AbortSignal {
    return this.lost.signal;
  }
}

/**
 * Contends for the lease of a shard and holds it. Modelled on River's leadership: the holder trusts its lease for ttl - margin of
 * its own monotonic time after it *began* the last renewal, never by comparing clocks.
 */
export class Leadership {
  readonly #options: LeadershipOptions;
  #held: HeldLease | undefined;
  readonly #doorbell: Doorbell;

  constructor(options: LeadershipOptions) {
    this.#options = options;
    this.#doorbell = new Doorbell(options.clock);
  }

  /** The lease, while it is held. */
  get lease(): Lease | undefined {
    return this.#held;
  }

  /** Looks at the lease now. */
  wake(): void {
    this.#doorbell.ring();
  }

  /**
   * Waits until the lease is acquired. Rejects when the signal aborts.
   *
   * @param onStandby called once, when another one is seen to lead
   */
  async acquire(signal: AbortSignal, onStandby: () => void): Promise<Lease> {
    const { store, clock, databaseClock, logger, shard, owner, leaseTtlMs, standbyPollMs } = this.#options;
    let observed: (ObservedLease & { readonly sinceMs: number }) | undefined;
    for (;;) {
      signal.throwIfAborted();
      try {
        const stale = observed && clock.monotonic() - observed.sinceMs >= leaseTtlMs ? observed : undefined;
        const startedAtMs = clock.monotonic();
        const grant = await store.acquireLease(stale);
        if (grant) {
          databaseClock.read(grant.databaseNowMs, startedAtMs);
          const held = new HeldLease(grant, clock);
          this.#trust(held, startedAtMs);
          this.#held = held;
          logger.info({ shard, owner, epoch: grant.epoch }, 'leading');
          return held;
        }
        const current = await store.readLease();
        if (current && (current.epoch !== observed?.epoch || current.expireMs !== observed.expireMs)) {
          if (observed === undefined) onStandby();
          if (observed?.epoch !== current.epoch) {
            logger.info({ shard, owner, holder: current.owner, epoch: current.epoch }, 'standing by');
          }
          observed = { epoch: current.epoch, expireMs: current.expireMs, sinceMs: clock.monotonic() };
        }
      } catch (error) {
        signal.throwIfAborted();
        logger.warn({ err: error, shard }, 'the lease could not be asked for; trying again');
      }
      await this.#doorbell.wait(standbyPollMs, signal);
    }
  }

  /** Renews the held lease until it is lost or the signal aborts. */
  async hold(signal: AbortSignal): Promise<void> {
    const { store, clock, databaseClock, logger, shard, leaseTtlMs } = this.#options;
    const held = this.#held;
    if (!held) throw new Error('no lease to hold');
    let pauseMs = leaseTtlMs / 3;
    while (!held.lost.signal.aborted) {
      try {
        await this.#doorbell.wait(pauseMs, AbortSignal.any([signal, held.lost.signal]));
      } catch {
        return;
      }
      const startedAtMs = clock.monotonic();
      try {
        const grant = await store.renewLease(held.epoch);
        if (!grant) {
          logger.warn({ shard, epoch: held.epoch }, 'the lease was taken by another');
          this.#lose(held, 'the lease was taken by another');
          return;
        }
        if (grant.lineage !== held.lineage) {
          this.#lose(held, OTHER_DATABASE);
          return;
        }
        databaseClock.read(grant.databaseNowMs, startedAtMs);
        held.expireMs = grant.expireMs;
        this.#trust(held, startedAtMs);
        pauseMs = leaseTtlMs / 3;
      } catch (error) {
        // Nobody can have taken it while the database is away, so the next renewal may well succeed.
        logger.warn(
          { err: error, shard, epoch: held.epoch, trusted: held.trusted },
          'the lease could not be renewed; trying again',
        );
        pauseMs = Math.min(leaseTtlMs / 10, 500);
      }
    }
  }

  /** Time may have passed unseen: the lease is not trusted until it is renewed, and that is tried at once. */
  doubt(): void {
    if (!this.#held) return;
    this.#held.trustedUntilMs = Number.NEGATIVE_INFINITY;
    this.#doorbell.ring();
  }

  /** What was held is another's: told by a write that the database refused. */
  lose(reason: string): void {
    if (this.#held) this.#lose(this.#held, reason);
  }

  /** Gives the lease back. What is in flight may still be answered; nothing new may be sent. */
  async release(): Promise<void> {
    const held = this.#held;
    if (!held || held.lost.signal.aborted) return;
    const { store, logger, shard, owner } = this.#options;
    this.#lose(held, 'released');
    const released = await store.releaseLease(held.epoch);
    logger.info({ shard, owner, epoch: held.epoch, released }, 'released the lease');
  }

  #trust(held: HeldLease, startedAtMs: number): void {
    held.trustedUntilMs = startedAtMs + this.#options.leaseTtlMs - this.#options.leaseMarginMs;
  }

  #lose(held: HeldLease, reason: string): void {
    held.lost.abort(new Error(reason));
    if (this.#held === held) this.#held = undefined;
  }
}
