import type { Flush } from '@carillon/db/tables/scheduler-watermarks.ts';
import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';
import type { Logger } from '@carillon/server';
import type { Engine } from './engine.ts';
import type { Ledger } from './ledger.ts';
import type { SchedulerMetrics } from './metrics.ts';
import type { Quarantines } from './quarantines.ts';
import type { SchedulerStore } from './scheduler-store.ts';

/** What refusals are handled through. */
export interface RefusalsOptions {
  readonly store: Pick<SchedulerStore, 'findRefusedRows'>;
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly quarantines: Pick<Quarantines, 'add' | 'write'>;
  readonly metrics: Pick<SchedulerMetrics, 'scheduleFailures' | 'refusedRows'>;
  readonly logger: Logger;
}

/**
 * Schedules whose rows the database refuses. They go into quarantine, so that a flush without them goes on: what is stored of them stands, and what
 * became of their slots since is decided again when they change, or by the next leader. Until then it is told here, and nowhere else.
 */
export class Refusals {
  readonly #o: RefusalsOptions;
  /** Rows that no watermark waits for. */
  readonly #aside = new WeakSet<LedgerRow>();
  /** Those of them that wait for their schedules to go on. */
  #heldBack: LedgerRow[] = [];

  constructor(options: RefusalsOptions) {
    this.#o = options;
  }

  /** After a flush that failed because of its data: finds whose they are. True: the rest can be written without them. */
  async find(flush: Flush): Promise<boolean> {
    const { store, engine, ledger, quarantines, metrics, logger } = this.#o;
    const generationOf = (id: number): number => {
      const handle = engine.schedules.find(id);
      return handle === undefined ? 0 : engine.schedules.generation[handle]!;
    };
    const generations = new Map(
      [...flush.laggards, ...flush.ledger].map(({ schedule }) => [schedule, generationOf(schedule)]),
    );
    let isNew = false;
    for (const { schedule, reason, stored, hasOwn } of await store.findRefusedRows(flush)) {
      const generation = generationOf(schedule);
      // It has changed since, so this may no longer be true of it.
      if (generation !== generations.get(schedule)) {
        isNew = true;
        continue;
      }
      if (!engine.refuse(schedule, stored, hasOwn)) continue;
      isNew = true;
      metrics.scheduleFailures.inc();
      logger.error(
        { scheduleId: schedule, generation, reason },
        'quarantined: what became of its slots cannot be written down',
      );
      quarantines.add({
        schedule,
        generation,
        reason: `what became of its slots cannot be stored: ${reason}`,
        throughSpan: undefined,
      });
      for (const row of ledger.takeOf(schedule)) this.refused(row);
    }
    return isNew;
  }

  /** Says on the schedules themselves that they are in quarantine, if that is still to be said. */
  async announce(): Promise<void> {
    await this.#o.quarantines.write();
  }

  /** Records what no watermark waits for: it is kept until its schedule goes on, for nothing would make it be decided again. */
  addAside(row: LedgerRow): void {
    this.#aside.add(row);
    this.#o.ledger.add(row);
  }

  /** Records what was kept of schedules that go on. */
  resume(): void {
    const heldBack = this.#heldBack;
    this.#heldBack = [];
    for (const row of heldBack) this.#o.ledger.add(row);
  }

  /** A ledger row that is not written: its slots are unsettled all the same. */
  refused(row: LedgerRow): void {
    if (this.#aside.has(row)) {
      this.#heldBack.push(row);
      return;
    }
    const { metrics, logger } = this.#o;
    metrics.refusedRows.inc();
    logger.error(
      {
        scheduleId: row.schedule,
        revision: row.revision,
        from: new Date(row.nominalMs).toISOString(),
        to: new Date(row.lastNominalMs).toISOString(),
        slots: row.slots,
        outcome: row.outcome,
        reason: row.reason,
        message: row.message,
      },
      'an outcome that cannot be written down; it is decided again when its schedule has changed, or another leads',
    );
  }
}
