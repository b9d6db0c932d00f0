import type { Logger } from '@carillon/server';
import type { SchedulerMetrics } from './metrics.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import type { Term } from './term.ts';

/** What a report of a changed database asks and tells. */
export interface DatabaseChangeOptions {
  readonly store: Pick<SchedulerStore, 'readGenerations'>;
  readonly metrics: Pick<SchedulerMetrics, 'databaseChanges' | 'lostChanges'>;
  readonly logger: Logger;
}

/** How many schedules a report names. */
const NAMED_SCHEDULES = 20;

/**
 * Reports, after a term, whether the database is another than the one it worked on: a standby that was promoted, a backup that was restored.
 * Then it says which changes of schedules are missing that the term had read. What is settled needs no report: the next term goes on from what this
 * database has stored, and sends again what it does not know of.
 */
export async function reportDatabaseChange(
  { store, metrics, logger }: DatabaseChangeOptions,
  term: Pick<Term, 'lease' | 'engine'>,
): Promise<void> {
  const { schedules } = term.engine;
  /** By id: handles. */
  const known = new Map<number, number>();
  const { server } = await store.readGenerations(
    ({ lineage }) => {
      if (lineage === term.lease.lineage) return false;
      for (const schedule of schedules.handles()) known.set(schedules.id[schedule]!, schedule);
      return true;
    },
    async (rows) => {
      for (const { id, uidBits, generation } of rows) {
        const schedule = known.get(id);
        // One that was lost, and whose id is another's now, is not there.
        if (schedule === undefined || schedules.uidBits[schedule] !== uidBits) continue;
        if (generation >= schedules.generation[schedule]!) known.delete(id);
      }
    },
  );
  if (server.lineage === term.lease.lineage) return;
  metrics.databaseChanges.inc();
  metrics.lostChanges.inc(known.size);
  logger.error(
    {
      before: term.lease.lineage,
      now: server.lineage,
      lostChanges: known.size,
      scheduleIds: [...known.keys()].slice(0, NAMED_SCHEDULES),
    },
    known.size === 0
      ? 'the database is another than before: no change of a schedule is missing that had been read'
      : 'the database is another than before, and has lost changes of schedules: look at these, and make them again',
  );
}
