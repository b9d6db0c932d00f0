import { type ShardingStrategy, type ShardScope, type UnitKey, unitOf } from '@carillon/core/assignment.ts';
import type { LastLook, LookedAtSlot } from '@carillon/db/tables/last-look.ts';
import type { RefusedRows } from '@carillon/db/tables/refused-rows.ts';
import type { FeedRow, StoredWatermarks, WatermarkRow } from '@carillon/db/tables/schedule-feed.ts';
import type { ReplicaRow } from '@carillon/db/tables/scheduler-replicas.ts';
import type { Flush, FlushResult } from '@carillon/db/tables/scheduler-watermarks.ts';
import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import type { SettledRedrive } from '@carillon/db/tables/slot-redrives.ts';
import { refill } from './refill.ts';
import { endIn, type RevisionRow, type ScheduleRows, type SpanRow } from './schedule-rows.ts';
import { hasUnit } from './shard-scopes.ts';
import { type Holder, SimLeases } from './sim-leases.ts';
import { SimQuarantines } from './sim-quarantines.ts';
import { SimRedrives } from './sim-redrives.ts';
import { unreadableBytes } from './sim-spec.ts';
import { type Snapshot, sees, Transactions } from './transactions.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A unit's stored frontier. */
export interface FrontierRow {
  readonly strategy: ShardingStrategy;
  readonly unit: UnitKey;
  readonly throughMs: number;
  readonly snapshot: Snapshot;
}

/** A ledger row as it was written. */
export interface WrittenLedgerRow extends LedgerRow {
  readonly atMs: number;
  /** The latest that the database's clock had said by then. */
  readonly highestDatabaseMs: number;
  readonly epoch: number;
}

const DAY_MS = 86_400_000;
const NO_RUN = Buffer.alloc(0);

/**
 * PostgreSQL as the scheduler meets it: the statements of `libs/db/src/tables`, on rows with the visibility of PostgreSQL's. Each
 * statement happens at one instant; what lies between machines is the network's.
 */
export class SimDatabase {
  readonly transactions = new Transactions();
  /** By id. */
  readonly schedules = new Map<number, ScheduleRows>();
  /** By strategy and unit, as `frontierKey` makes it. */
  readonly frontiers = new Map<string, FrontierRow>();
  readonly laggards = new Map<number, WatermarkRow>();
  readonly #watermarks = new Map<ShardScope, StoredWatermarks>();
  /** By schedule, nominal time and outcome. */
  readonly ledger = new Map<string, WrittenLedgerRow>();
  readonly redrives = new SimRedrives(this);
  readonly quarantines = new SimQuarantines(() => this.now());
  readonly leases: SimLeases;
  /** By instance. */
  readonly replicas = new Map<string, Omit<ReplicaRow, 'silentMs'>>();
  /** Told of every flush that was written. */
  told: (flush: Flush) => void = () => undefined;
  onFlush: (flush: Flush) => void = () => undefined;
  readonly #time: VirtualTime;
  readonly #epochMs: number;
  #stepMs = 0;
  #highestMs = Number.NEGATIVE_INFINITY;

  constructor(time: VirtualTime, epochMs: number) {
    this.#time = time;
    this.#epochMs = epochMs;
    this.leases = new SimLeases(
      () => this.now(),
      () => this.transactions.autocommit(),
    );
  }

  /** `clock_timestamp()`: epoch milliseconds, with microseconds. */
  now(): number {
    const nowMs = Math.floor((this.#epochMs + this.#time.nowMs + this.#stepMs) * 1000) / 1000;
    this.#highestMs = Math.max(this.#highestMs, nowMs);
    return nowMs;
  }

  /** The latest that its clock has ever said. */
  get highestMs(): number {
    this.now();
    return this.#highestMs;
  }

  /** Keeps what a standby has of all of it; the function makes that the database. Schedules that were made since are gone. */
  copy(): () => void {
    const { schedules, frontiers, laggards, ledger, replicas, transactions } = this;
    const restore = [
      this.leases.copy(),
      this.redrives.copy(),
      this.quarantines.copy(),
      ...[...schedules.values()].map((rows) => rows.copy((xid) => transactions.isInFlight(xid))),
      transactions.copy(),
    ];
    const committed = [...schedules].filter(([, { versions }]) =>
      versions.some(({ xid }) => !transactions.isInFlight(xid)),
    );
    const [oldFrontiers, oldLaggards, oldLedger, oldReplicas] = [
      [...frontiers],
      [...laggards],
      [...ledger],
      [...replicas],
    ];
    return () => {
      for (const part of restore) part();
      refill(schedules, committed);
      refill(frontiers, oldFrontiers);
      refill(laggards, oldLaggards);
      refill(ledger, oldLedger);
      refill(replicas, oldReplicas);
      this.#watermarks.clear();
    };
  }

  stepClock(ms: number): void {
    this.now();
    this.#stepMs += ms;
  }

  /** What is stored of a shard; kept until the next flush, for every standby asks for it each second. */
  readWatermarks(scope: ShardScope): StoredWatermarks {
    let watermarks = this.#watermarks.get(scope);
    if (!watermarks) {
      watermarks = this.#watermarksOf(scope);
      this.#watermarks.set(scope, watermarks);
    }
    return watermarks;
  }

  #watermarksOf(scope: ShardScope): StoredWatermarks {
    const frontiers = new Map<UnitKey, number>();
    for (const { strategy, unit, throughMs } of this.frontiers.values()) {
      if (strategy === scope.strategy && hasUnit(scope, unit)) frontiers.set(unit, Math.floor(throughMs));
    }
    let newest: Snapshot | undefined;
    let furthestMs = Number.NEGATIVE_INFINITY;
    for (const { snapshot, throughMs } of this.frontiers.values()) {
      furthestMs = Math.max(furthestMs, Math.floor(throughMs));
      if (newest === undefined || snapshot.xmax > newest.xmax) newest = snapshot;
    }
    const laggards = [...this.laggards].filter(([id]) => this.isIn(scope, this.schedules.get(id)!));
    return { feedSnapshot: newest?.text, furthestMs, frontiers, laggards: new Map(laggards) };
  }

  /** Whether a schedule is one of a shard's. */
  isIn(scope: ShardScope, { unit, name }: ScheduleRows): boolean {
    return hasUnit(scope, unitOf(scope.strategy, { hashSlot: unit, ...name }));
  }

  /** How far the frontiers that see a span speak for it; undefined: none sees it. */
  frontierOf({ unit, name }: ScheduleRows, span: SpanRow): number | undefined {
    const keys = [
      frontierKey('hash', unit),
      frontierKey('project', name.project),
      frontierKey('domain', name.domain),
    ];
    let throughMs: number | undefined;
    for (const key of keys) {
      const row = this.frontiers.get(key);
      if (row && sees(row.snapshot, span.xid))
        throughMs = Math.max(throughMs ?? row.throughMs, row.throughMs);
    }
    return throughMs;
  }

  /** The rows of a full read: all of a shard, as `snapshot` sees them, by the watermarks that it sees. */
  everythingIn(snapshot: Snapshot, scope: ShardScope): FeedRow[] {
    const rows: FeedRow[] = [];
    for (const schedule of this.schedules.values()) {
      const version = schedule.versionIn(snapshot);
      if (!version || !this.isIn(scope, schedule)) continue;
      const ownMs = this.laggards.get(schedule.id)?.throughMs;
      for (const span of schedule.spansIn(snapshot)) {
        const end = endIn(span, snapshot);
        const frontierMs = this.frontierOf(schedule, span);
        const settledMs = frontierMs === undefined ? Number.NEGATIVE_INFINITY : (ownMs ?? frontierMs);
        if (end && !(end.toMs > settledMs - DAY_MS)) continue;
        const { generation, anchorMs } = version;
        const seen = frontierMs !== undefined;
        rows.push({
          ...feedRow(schedule, generation, anchorMs, span, snapshot, seen),
          frontierMs: frontierMs === undefined ? null : Math.floor(frontierMs),
        });
      }
    }
    return rows;
  }

  /** The ids of a shard's schedules whose last write `since` did not see. */
  changedIn(snapshot: Snapshot, since: Snapshot, scope: ShardScope): number[] {
    const ids: number[] = [];
    for (const schedule of this.schedules.values()) {
      if (!this.isIn(scope, schedule)) continue;
      const version = schedule.versionIn(snapshot);
      if (version && !sees(since, version.xid)) ids.push(schedule.id);
    }
    return ids;
  }

  /** Ids and generations of a shard's schedules that have an open span, and whose last write `since` saw. */
  generationsIn(
    snapshot: Snapshot,
    since: Snapshot,
    scope: ShardScope,
  ): { id: number; generation: number }[] {
    const found: { id: number; generation: number }[] = [];
    for (const schedule of this.schedules.values()) {
      const version = schedule.versionIn(snapshot);
      if (!version || !sees(since, version.xid) || !this.isIn(scope, schedule)) continue;
      if (schedule.spansIn(snapshot).every((span) => endIn(span, snapshot))) continue;
      found.push({ id: schedule.id, generation: version.generation });
    }
    return found;
  }

  /** The rows of single schedules; `since` undefined: a snapshot that saw nothing. */
  schedulesIn(
    snapshot: Snapshot,
    since: Snapshot | undefined,
    asked: readonly { readonly id: number; readonly unsettledSinceMs: number }[],
  ): FeedRow[] {
    const rows: FeedRow[] = [];
    for (const { id, unsettledSinceMs } of asked) {
      const schedule = this.schedules.get(id)!;
      const { generation, anchorMs } = schedule.versionIn(snapshot)!;
      const before = rows.length;
      for (const span of schedule.spansIn(snapshot)) {
        const end = endIn(span, snapshot);
        const seen = since !== undefined && sees(since, span.xid);
        if (end && seen && !(end.toMs > unsettledSinceMs - DAY_MS)) continue;
        rows.push(feedRow(schedule, generation, anchorMs, span, snapshot, seen));
      }
      if (rows.length === before)
        rows.push(feedRow(schedule, generation, anchorMs, undefined, snapshot, true));
    }
    return rows;
  }

  lastLook(slots: readonly LookedAtSlot[]): (LastLook | undefined)[] {
    const snapshot = this.transactions.snapshot();
    return slots.map(({ schedule: id, nominalMs, stopsFromMs = nominalMs }) => {
      const schedule = this.schedules.get(id);
      if (!schedule?.versionIn(snapshot)) return undefined;
      const spans = schedule.spansIn(snapshot);
      const holder = spans.findLast((span) => {
        const end = endIn(span, snapshot);
        return span.state === 'ACTIVE' && span.fromMs < nominalMs && (!end || end.toMs >= nominalMs);
      });
      let stop: LastLook['stop'] = null;
      for (const span of spans) {
        const reason = endIn(span, snapshot)?.reason;
        if (reason !== 'PAUSED' && reason !== 'DEACTIVATED' && reason !== 'DELETED') continue;
        if (endIn(span, snapshot)!.toMs < stopsFromMs) continue;
        stop = reason;
        break;
      }
      const { project, domain, scheduleId } = schedule.name;
      return {
        project,
        domain,
        scheduleId,
        uid: schedule.uid,
        revision: holder?.revision ?? null,
        stop,
        run: holder ? NO_RUN : null,
        databaseNowMs: this.now(),
      };
    });
  }

  /** How far a schedule is settled as it is stored: by a row of its own, else by the frontiers of its units. */
  storedOf(id: number): Pick<RefusedRows, 'stored' | 'hasOwn'> {
    const own = this.laggards.get(id);
    if (own) return { stored: own, hasOwn: true };
    const { unit, name } = this.schedules.get(id)!;
    const throughMs = Math.max(
      ...[
        frontierKey('hash', unit),
        frontierKey('project', name.project),
        frontierKey('domain', name.domain),
      ].map((key) => this.frontiers.get(key)?.throughMs ?? Number.NEGATIVE_INFINITY),
    );
    return { stored: { throughMs: Math.floor(throughMs), settledAbove: [] }, hasOwn: false };
  }

  /** @param incarnation of the server: sessions of an earlier one are gone */
  flush(flush: Flush, incarnation: number): FlushResult {
    if (incarnationOf(flush.feedSession) !== incarnation) return 'UNPROVEN';
    if (flush.lineage !== this.leases.lineage) return 'FENCED';
    if (!this.isHeldBy(flush)) return 'FENCED';
    if (!this.leases.countFlush(flush, flush.number)) return 'FENCED';
    this.#watermarks.clear();
    const { strategy } = flush;
    const snapshot = this.transactions.parse(flush.feedSnapshot);
    flush.units.forEach((unit, index) => {
      this.frontiers.set(frontierKey(strategy, unit), {
        strategy,
        unit,
        throughMs: micros(flush.throughMs[index]!),
        snapshot,
      });
    });
    for (const { schedule, throughMs: ownMs, settledAbove } of flush.laggards) {
      this.laggards.set(schedule, {
        throughMs: Math.floor(ownMs),
        settledAbove: settledAbove.map(({ after, through }) => ({
          after: Math.trunc(after),
          through: Math.trunc(through),
        })),
      });
    }
    for (const schedule of flush.caughtUp) this.laggards.delete(schedule);
    for (const row of flush.ledger) this.record(row, flush.epoch);
    this.transactions.autocommit();
    this.told(flush);
    this.onFlush(flush);
    return 'WRITTEN';
  }

  /** Whether the lease is held under this epoch. */
  isHeldBy(holder: Holder): boolean {
    return this.leases.isHeldBy(holder);
  }

  /** Writes a ledger row, unless its slot has one of the same outcome. */
  record(row: LedgerRow, epoch: number): void {
    const key = `${row.schedule} ${row.nominalMs} ${row.outcome}`;
    const known = this.ledger.get(key);
    if (known) {
      if (known.slots === 0 && row.slots === 0)
        this.ledger.set(key, { ...known, lastNominalMs: Math.max(known.lastNominalMs, row.lastNominalMs) });
      return;
    }
    this.ledger.set(key, { ...row, atMs: this.#time.nowMs, highestDatabaseMs: this.highestMs, epoch });
  }

  /** Says anew why a slot is dead. */
  correctDead({ schedule, nominalMs, reason, message }: SettledRedrive, epoch: number): void {
    const key = `${schedule} ${nominalMs} DEAD`;
    const row = this.ledger.get(key);
    if (row) this.ledger.set(key, { ...row, reason, message, epoch });
  }
}

/** Where a unit's frontier stands. */
export function frontierKey(strategy: ShardingStrategy, unit: UnitKey): string {
  return `${strategy} ${unit}`;
}

/** Of the server that a session was with. */
function incarnationOf(session: string): number {
  return Number(session.split(' ')[0]);
}

function micros(ms: number): number {
  return Number.isFinite(ms) ? Math.round(ms * 1000) / 1000 : ms;
}

/** As it is read at the moment. */
function timingOf({ spec, timing, isUnreadable }: RevisionRow): Buffer {
  return isUnreadable ? Buffer.from(unreadableBytes(spec)) : timing;
}

function feedRow(
  schedule: ScheduleRows,
  generation: number,
  anchorMs: number | undefined,
  span: SpanRow | undefined,
  snapshot: Snapshot,
  seen: boolean,
): FeedRow {
  const end = span && endIn(span, snapshot);
  return {
    id: schedule.id,
    uidBits: 0,
    generation,
    hashSlot: schedule.unit,
    ...schedule.name,
    anchorMs: anchorMs ?? null,
    span: span?.span ?? null,
    revision: span?.revision ?? 0,
    state: span?.state ?? 'ACTIVE',
    fromMs: Math.floor(span?.fromMs ?? 0),
    toMs: end ? Math.floor(end.toMs) : null,
    endReason: end?.reason ?? null,
    timing: span ? timingOf(schedule.revision(span.revision)) : NO_RUN,
    payloadBytes: 100,
    seen,
    frontierMs: null,
  };
}
