import type { Clock } from '@carillon/core/clock.ts';
import { Doorbell } from '@carillon/core/doorbell.ts';
import type { NewLease, StoredLease } from '@carillon/db/tables/scheduler-leases.ts';
import type { Logger } from '@carillon/server';
import type { DatabaseClock } from './database-clock.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import type { Share } from './share.ts';

/** How leadership is held. */
export interface LeadershipOptions {
  readonly store: SchedulerStore;
  readonly clock: Clock;
  readonly databaseClock: DatabaseClock;
  readonly logger: Logger;
  /** Names this process. A process that starts again under the name of a dead one takes over from it at once. */
  readonly owner: string;
  /** How long a grant lasts. */
  readonly leaseTtlMs: number;
  /** How much earlier than that the holder stops trusting it. */
  readonly leaseMarginMs: number;
  /** How often a standby looks, beside being woken. */
  readonly standbyPollMs: number;
  /** How many leases this replica is to hold, of all shards together. */
  readonly share: Share;
}

/** A lease beyond this replica's share is left to others for so many looks: nothing stays without a leader. */
const PATIENT_POLLS = 2;

/** A lease as it was last seen to change. */
interface Sighting extends StoredLease {
  /** Since when it is as it is, by the monotonic clock. */
  readonly sinceMs: number;
}

/** A held lease. */
export interface Lease {
  readonly epoch: number;
  /** The lineage of the database that granted it: under another one it is worth nothing. */
  readonly lineage: string;
  /** Whether that is another than the one that granted what it took over: terms may have gone on for longer than it knows. */
  readonly isOtherDatabase: boolean;
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
  readonly isOtherDatabase: boolean;
  readonly grantedAtMs: number;
  readonly firstExpireMs: number;
  expireMs: number;
  trustedUntilMs = 0;
  readonly lost = new AbortController();
  readonly #clock: Clock;

  constructor(grant: NewLease, clock: Clock) {
    this.epoch = grant.epoch;
    this.lineage = grant.lineage;
    this.isOtherDatabase = grant.isOtherDatabase;
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
   * @param onStandby called once, if it was not granted at first
   * @param mayContend asked each time; while it says no, the lease is left to others. It is the caller's to wake this when that has changed
   */
  async acquire(signal: AbortSignal, onStandby: () => void, mayContend: () => boolean): Promise<Lease> {
    const { store, clock, databaseClock, logger, owner, leaseTtlMs, standbyPollMs, share } = this.#options;
    let seen: readonly Sighting[] = [];
    let isStandby = false;
    /** Since when nobody holds what this one leaves to others. */
    let freeSinceMs: number | undefined;
    for (;;) {
      signal.throwIfAborted();
      const startedAtMs = clock.monotonic();
      const stale = seen.filter(({ sinceMs }) => startedAtMs - sinceMs >= leaseTtlMs);
      const isPatient =
        freeSinceMs === undefined || startedAtMs - freeSinceMs < PATIENT_POLLS * standbyPollMs;
      const hasPlace = mayContend() && share.take(!isPatient);
      try {
        if (hasPlace) {
          const grant = await store.acquireLease(stale);
          if (grant) {
            databaseClock.read(grant.databaseNowMs, startedAtMs);
            const held = new HeldLease(grant, clock);
            this.#trust(held, startedAtMs);
            this.#held = held;
            logger.info({ owner, epoch: grant.epoch }, 'leading');
            return held;
          }
        }
        const leases = await store.readLeases();
        if (!isStandby) onStandby();
        isStandby = true;
        seen = this.#compare(seen, leases);
        const isStale = ({ sinceMs }: Sighting): boolean => clock.monotonic() - sinceMs >= leaseTtlMs;
        if (seen.every((lease) => lease.isFree || isStale(lease))) freeSinceMs ??= clock.monotonic();
        else freeSinceMs = undefined;
      } catch (error) {
        signal.throwIfAborted();
        logger.warn({ err: error }, 'the lease could not be asked for; trying again');
      } finally {
        if (hasPlace && this.#held === undefined) share.giveBack();
      }
      await this.#doorbell.wait(standbyPollMs, signal);
    }
  }

  /** What is seen now, and since when it is so. */
  #compare(before: readonly Sighting[], leases: readonly StoredLease[]): Sighting[] {
    const { clock, logger, owner } = this.#options;
    return leases.map((lease) => {
      const known = before.find(({ shard }) => shard === lease.shard);
      if (known?.epoch === lease.epoch && known.expireMs === lease.expireMs)
        return { ...lease, sinceMs: known.sinceMs };
      if (known?.epoch !== lease.epoch && !lease.isFree)
        logger.info({ owner, lease: lease.shard, holder: lease.owner, epoch: lease.epoch }, 'standing by');
      return { ...lease, sinceMs: clock.monotonic() };
    });
  }

  /** Renews the held lease until it is lost or the signal aborts. */
  async hold(signal: AbortSignal): Promise<void> {
    const { store, clock, databaseClock, logger, leaseTtlMs } = this.#options;
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
          logger.warn({ epoch: held.epoch }, 'the lease was taken by another');
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
          { err: error, epoch: held.epoch, trusted: held.trusted },
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
    const { store, logger, owner } = this.#options;
    this.#lose(held, 'released');
    const released = await store.releaseLease(held.epoch);
    logger.info({ owner, epoch: held.epoch, released }, 'released the lease');
  }

  #trust(held: HeldLease, startedAtMs: number): void {
    held.trustedUntilMs = startedAtMs + this.#options.leaseTtlMs - this.#options.leaseMarginMs;
  }

  #lose(held: HeldLease, reason: string): void {
    held.lost.abort(new Error(reason));
    if (this.#held !== held) return;
    this.#held = undefined;
    this.#options.share.giveBack();
  }
}
