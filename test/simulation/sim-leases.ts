import { type Assignment, type SchedulePlace, shardOf } from '@carillon/core/assignment.ts';
import type { StoredAssignments } from '@carillon/db/tables/scheduler-assignments.ts';
import type {
  LeaseClaim,
  LeaseGrant,
  LedShard,
  NewLease,
  ObservedLease,
  StoredLease,
  TermRow,
} from '@carillon/db/tables/scheduler-leases.ts';
import type { LedTerm } from './catch-up-rules.ts';
import { refill } from './refill.ts';

/** A lease as it is stored, with instants in epoch milliseconds with fractions. */
interface LeaseRow {
  readonly shard: string;
  owner: string | null;
  epoch: number;
  expireMs: number;
  version: number;
  flushes: number;
  /** Under which it was last granted. */
  lineage: string;
}

/** Whose lease it is. */
export interface Holder {
  readonly shard: string;
  readonly owner: string;
  readonly epoch: number;
}

interface StoredTerm extends TermRow {
  readonly epoch: number;
  endMs: number;
}

/** The statements of `scheduler-leases.ts` and `scheduler-assignments.ts` in `libs/db/src/tables`. */
export class SimLeases {
  readonly #now: () => number;
  readonly #written: () => void;
  readonly #assignments: Assignment[] = [];
  readonly #leases = new Map<string, LeaseRow>();
  readonly #terms: StoredTerm[] = [];
  #inForce: number | undefined;
  /** Counts promotions. */
  #timeline = 1;

  /**
   * @param now the database's clock
   * @param written told of each statement that wrote something
   */
  constructor(now: () => number, written: () => void) {
    this.#now = now;
    this.#written = written;
  }

  /** Which history of the database this is. */
  get lineage(): string {
    return `simulated/${String(this.#timeline).padStart(8, '0')}`;
  }

  /** Keeps all of it; the function brings it back, as another history. */
  copy(): () => void {
    const [assignments, inForce] = [[...this.#assignments], this.#inForce];
    const leases = [...this.#leases].map(([shard, lease]) => [shard, { ...lease }] as const);
    const terms = this.#terms.map((term) => ({ ...term }));
    return () => {
      this.#assignments.splice(0, Number.POSITIVE_INFINITY, ...assignments);
      this.#inForce = inForce;
      refill(this.#leases, leases);
      this.#terms.splice(0, Number.POSITIVE_INFINITY, ...terms);
      this.#timeline++;
    };
  }

  acquire(claim: LeaseClaim, stale: readonly ObservedLease[]): NewLease | undefined {
    const { shard, version, owner, ttlMs } = claim;
    if (this.#inForce !== version) return undefined;
    const nowMs = this.#now();
    const isTakeable = (lease: LeaseRow): boolean =>
      lease.owner === null ||
      lease.owner === owner ||
      lease.expireMs < nowMs ||
      stale.some(
        (seen) =>
          seen.shard === lease.shard &&
          seen.epoch === lease.epoch &&
          seen.expireMs === Math.floor(lease.expireMs),
      );
    const before = this.#leases.get(shard);
    const older = this.#older(claim);
    if (!older.every(isTakeable) || (before && !isTakeable(before))) return undefined;
    const expireMs = Math.max(
      nowMs + ttlMs,
      ...[shard, ...claim.older.map((each) => each.shard)].map(
        (name) => this.#leases.get(name)?.expireMs ?? nowMs,
      ),
    );
    for (const lease of older) {
      if (lease.owner === null) continue;
      lease.owner = null;
      lease.epoch++;
    }
    const epoch = (before?.epoch ?? 0) + 1;
    const { lineage } = this;
    const claimed = [shard, ...claim.older.map((each) => each.shard)].flatMap(
      (name) => this.#leases.get(name) ?? [],
    );
    const isOtherDatabase =
      claimed.length > 0 ? claimed.some((each) => each.lineage !== lineage) : this.#timeline > 1;
    this.#leases.set(shard, { shard, owner, epoch, expireMs, version, flushes: 0, lineage });
    this.#terms.push({ shard, version, epoch, readyMs: nowMs, endMs: expireMs });
    this.#written();
    return {
      epoch,
      expireMs: Math.floor(expireMs),
      databaseNowMs: Math.floor(nowMs),
      lineage,
      isOtherDatabase,
    };
  }

  renew(holder: Holder, ttlMs: number): LeaseGrant | undefined {
    const lease = this.#held(holder);
    if (!lease) return undefined;
    const nowMs = this.#now();
    lease.expireMs = Math.max(lease.expireMs + 1, nowMs + ttlMs);
    this.#term(holder).endMs = lease.expireMs;
    this.#written();
    return {
      epoch: lease.epoch,
      expireMs: Math.floor(lease.expireMs),
      databaseNowMs: Math.floor(nowMs),
      lineage: this.lineage,
    };
  }

  release(holder: Holder): boolean {
    const lease = this.#held(holder);
    if (!lease) return false;
    lease.owner = null;
    this.#term(holder).endMs = this.#now();
    this.#written();
    return true;
  }

  read(claim: LeaseClaim): StoredLease[] {
    const own = this.#leases.get(claim.shard);
    const older = this.#older(claim).filter(({ owner }) => owner !== null);
    return [...(own ? [own] : []), ...older].map(({ shard, owner, epoch, expireMs }) => ({
      shard,
      owner,
      epoch,
      expireMs: Math.floor(expireMs),
      isFree: owner === null || expireMs < this.#now(),
    }));
  }

  readTerms(shard: string, version: number, epoch: number): TermRow[] {
    return this.#terms
      .filter((term) => (term.shard === shard && term.epoch < epoch) || term.version < version)
      .map((term) => ({
        shard: term.shard,
        version: term.version,
        readyMs: Math.floor(term.readyMs),
        endMs: Math.floor(term.endMs),
      }))
      .sort((a, b) => a.readyMs - b.readyMs);
  }

  /** All terms of the shards that a schedule belonged to, each under its version. */
  termsOf(place: SchedulePlace): LedTerm[] {
    return this.#terms.filter(({ shard, version }) => {
      const assignment = this.#assignments.find((each) => each.version === version)!;
      return shardOf(assignment, place) === shard;
    });
  }

  readLed(version: number): LedShard[] {
    const nowMs = this.#now();
    return [...this.#leases.values()].flatMap(({ shard, owner, epoch, expireMs, version: granted }) =>
      granted === version && owner !== null && expireMs > nowMs
        ? [{ shard, owner, epoch, expireMs: Math.floor(expireMs) }]
        : [],
    );
  }

  isHeldBy(holder: Holder): boolean {
    return this.#held(holder) !== undefined;
  }

  /** The epoch of a shard's lease, if this is its owner. */
  epochOf(shard: string, owner: string): number | undefined {
    const lease = this.#leases.get(shard);
    return lease?.owner === owner ? lease.epoch : undefined;
  }

  /** The assignment under which a shard was last granted. */
  assignmentOf(shard: string): Assignment {
    const { version } = this.#leases.get(shard)!;
    return this.#assignments.find((assignment) => assignment.version === version)!;
  }

  /** Counts a flush of the holder; false if it wrote one with a higher number, or the same. */
  countFlush(holder: Holder, number: number): boolean {
    const lease = this.#leases.get(holder.shard)!;
    if (lease.flushes >= number) return false;
    lease.flushes = number;
    return true;
  }

  get versionInForce(): number | undefined {
    return this.#inForce;
  }

  readAssignments(): StoredAssignments {
    return { history: [...this.#assignments], inForce: this.#inForce };
  }

  /** Tells whether it is in force now, and was not before. */
  setAssignment(assignment: Assignment): boolean {
    const { version } = assignment;
    if (this.#inForce !== undefined && this.#inForce >= version) return false;
    this.#assignments.push(assignment);
    this.#inForce = version;
    this.#written();
    return true;
  }

  #older({ shard, older }: LeaseClaim): LeaseRow[] {
    return older.flatMap(({ shard: name, version }) => {
      const lease = this.#leases.get(name);
      return name !== shard && lease?.version === version ? [lease] : [];
    });
  }

  #held({ shard, owner, epoch }: Holder): LeaseRow | undefined {
    const lease = this.#leases.get(shard);
    return lease?.owner === owner && lease.epoch === epoch ? lease : undefined;
  }

  #term({ shard, epoch }: Holder): StoredTerm {
    return this.#terms.find((term) => term.shard === shard && term.epoch === epoch)!;
  }
}
