import type { Flush } from '@carillon/db/tables/scheduler-watermarks.ts';
import type { ScheduleRows } from './schedule-rows.ts';
import { type ExpectedSlot, ScheduleSlots } from './schedule-slots.ts';
import { hasUnit, scopeFor } from './shard-scopes.ts';
import { frontierKey } from './sim-database.ts';
import type { SimRuns } from './sim-runs.ts';
import type { World } from './world.ts';

/**
 * Looks at the stored watermarks after every flush: no slot that they call settled may be without an outcome, and only the holder of
 * the lease may move them.
 */
export class WatermarkMonitor {
  readonly #world: World;
  readonly #runs: SimRuns;
  readonly #endMs: number;
  readonly #slots = new Map<number, ScheduleSlots>();
  readonly #frontiers = new Map<string, number>();
  /** By schedule, nominal time and revision, what is known to be settled. */
  readonly #settled = new Set<string>();

  /** @param endMs the end of the world, by any clock of it */
  constructor(world: World, runs: SimRuns, endMs: number) {
    this.#world = world;
    this.#runs = runs;
    this.#endMs = endMs;
    world.database.onFlush = (flush) => this.#flushed(flush);
  }

  /** The database is another: what it says is judged anew. */
  forget(): void {
    this.#frontiers.clear();
    this.#settled.clear();
  }

  slotsOf(schedule: ScheduleRows): ScheduleSlots {
    let slots = this.#slots.get(schedule.id);
    if (!slots) {
      slots = new ScheduleSlots(schedule, this.#endMs);
      this.#slots.set(schedule.id, slots);
    }
    return slots;
  }

  /** Whether a slot has an outcome that is written down. */
  isSettled(schedule: ScheduleRows, { nominal, span }: ExpectedSlot): boolean {
    const key = `${schedule.id} ${nominal} ${span.revision}`;
    if (this.#settled.has(key)) return true;
    const run = this.#runs.find(schedule.uid, nominal);
    // What the ledger says of a run that was skipped is stored with the watermark.
    if ((!run || run.outcome === 'SKIPPED') && !this.#hasRow(schedule, nominal, span.revision)) return false;
    this.#settled.add(key);
    return true;
  }

  #flushed(flush: Flush): void {
    const { database } = this.#world;
    const { shard, owner, epoch, strategy, units } = flush;
    for (const each of units) {
      const unit = frontierKey(strategy, each);
      const { throughMs } = database.frontiers.get(unit)!;
      const before = this.#frontiers.get(unit) ?? Number.NEGATIVE_INFINITY;
      if (throughMs < before)
        this.#world.violated(`the frontier of ${unit} went back from ${before} to ${throughMs}`);
      this.#frontiers.set(unit, throughMs);
    }
    if (!database.leases.isHeldBy(flush)) {
      this.#world.violated(`${owner} moved watermarks under epoch ${epoch}, which is stale`);
    }
    const scope = scopeFor(database.leases.assignmentOf(shard), shard);
    for (const { schedule } of flush.laggards) {
      if (!database.isIn(scope, database.schedules.get(schedule)!))
        this.#world.violated(
          `${owner} moved the watermark of schedule ${schedule}, which is not in ${shard}`,
        );
    }
    if (flush.strategy !== scope.strategy || !flush.units.every((unit) => hasUnit(scope, unit)))
      this.#world.violated(`${owner} moved frontiers that are not in ${shard}`);
    for (const schedule of database.schedules.values()) this.#check(schedule);
  }

  #check(schedule: ScheduleRows): void {
    const { database } = this.#world;
    const own = database.laggards.get(schedule.id);
    for (const slot of this.slotsOf(schedule).all) {
      const frontierMs = database.frontierOf(schedule, slot.span);
      if (frontierMs === undefined) continue;
      const throughMs = Math.floor(own?.throughMs ?? frontierMs);
      const { dueMs } = slot;
      const isCovered =
        dueMs <= throughMs ||
        own?.settledAbove.some(({ after, through }) => dueMs > after && dueMs <= through) === true;
      if (!isCovered || this.isSettled(schedule, slot)) continue;
      this.#world.violated(
        `the watermark of ${schedule.identity} (id ${schedule.id}) is at ${throughMs / 1000}, but its slot ${slot.nominal}, due at ${dueMs / 1000}, has no outcome${own ? `; settled above: ${JSON.stringify(own.settledAbove)}` : ''}`,
      );
      return;
    }
  }

  #hasRow({ id }: ScheduleRows, nominal: number, revision: number): boolean {
    for (const row of this.#world.database.ledger.values()) {
      if (row.schedule !== id || row.outcome === 'FIRED') continue;
      // A slot that a change has just taken from another revision may have been given up as that one's.
      if (row.revision !== revision && row.slots !== 1) continue;
      if (row.nominalMs <= nominal * 1000 && row.lastNominalMs >= nominal * 1000) return true;
    }
    return false;
  }
}
