import type pg from 'pg';
import { isDataError } from '../sqlstate.ts';
import { FRONTIERS_OF_SCHEDULE, SETTLED_ABOVE, settledAbove, type WatermarkRow } from './schedule-feed.ts';
import { type Flush, type LaggardRow, tryRows } from './scheduler-watermarks.ts';
import type { LedgerRow } from './slot-ledger.ts';

/** A schedule whose rows the database refuses. */
export interface RefusedRows {
  readonly schedule: number;
  /** What the database said of them. */
  readonly reason: string;
  /** How far the schedule is settled, as the database has it: by a row of its own, else by the frontiers of its units. */
  readonly stored: WatermarkRow;
  /** Whether that stands in a row of its own. */
  readonly hasOwn: boolean;
}

/** What of a flush is one schedule's. */
interface RowsOfSchedule {
  readonly schedule: number;
  readonly laggards: LaggardRow[];
  readonly ledger: LedgerRow[];
}

/** So many are looked for at most: whoever flushes again without them finds the next ones. */
const MOST_REFUSED = 32;

/**
 * Finds the schedules of a flush whose rows the database refuses, by bisection: tries rows and rolls them back, about log n statements for
 * each schedule. Nothing is written. None is found if it is not the rows of single schedules that are refused.
 */
export async function findRefusedRows(client: pg.ClientBase, flush: Flush): Promise<RefusedRows[]> {
  const found: { readonly schedule: number; readonly reason: string }[] = [];
  const bisect = async (schedules: readonly RowsOfSchedule[]): Promise<void> => {
    if (schedules.length === 0 || found.length >= MOST_REFUSED) return;
    const reason = await refusal(client, flush, schedules);
    if (reason === undefined) return;
    const [first] = schedules;
    if (first && schedules.length === 1) {
      found.push({ schedule: first.schedule, reason });
      return;
    }
    const half = Math.ceil(schedules.length / 2);
    await bisect(schedules.slice(0, half));
    await bisect(schedules.slice(half));
  };
  await client.query('begin');
  try {
    await bisect(bySchedule(flush));
  } catch (error) {
    // The time is over, or the database went away: what was found is worth something all the same.
    if (found.length === 0) throw error;
  } finally {
    await client.query('rollback');
  }
  const stored = await storedWatermarks(
    client,
    found.map(({ schedule }) => schedule),
  );
  return found.map(({ schedule, reason }) => ({
    schedule,
    reason,
    ...(stored.get(schedule) ?? NOTHING_STORED),
  }));
}

type Stored = Pick<RefusedRows, 'stored' | 'hasOwn'>;

const NOTHING_STORED: Stored = {
  stored: { throughMs: Number.NEGATIVE_INFINITY, settledAbove: [] },
  hasOwn: false,
};

function bySchedule({ laggards, ledger }: Flush): RowsOfSchedule[] {
  const rows = new Map<number, RowsOfSchedule>();
  const rowsOf = (schedule: number): RowsOfSchedule => {
    let own = rows.get(schedule);
    if (!own) {
      own = { schedule, laggards: [], ledger: [] };
      rows.set(schedule, own);
    }
    return own;
  };
  for (const row of laggards) rowsOf(row.schedule).laggards.push(row);
  for (const row of ledger) rowsOf(row.schedule).ledger.push(row);
  return [...rows.values()];
}

/** What the database says against rows of some schedules; undefined: nothing. */
async function refusal(
  client: pg.ClientBase,
  flush: Flush,
  schedules: readonly RowsOfSchedule[],
): Promise<string | undefined> {
  await client.query('savepoint trial');
  try {
    await tryRows(client, flush, {
      laggards: schedules.flatMap(({ laggards }) => laggards),
      ledger: schedules.flatMap(({ ledger }) => ledger),
    });
  } catch (error) {
    if (!isDataError(error) || !(error instanceof Error)) throw error;
    return error.message;
  } finally {
    await client.query('rollback to trial');
  }
  return undefined;
}

async function storedWatermarks(
  client: pg.ClientBase,
  schedules: readonly number[],
): Promise<ReadonlyMap<number, Stored>> {
  const { rows } = await client.query<{
    id: number;
    hasOwn: boolean;
    throughMs: number | null;
    ranges: string;
  }>(
    `select s.id::float8 as id, l.schedule is not null as "hasOwn",
      floor(extract(epoch from coalesce(l.due_through, greatest(f.due_through, fp.due_through, fd.due_through))) * 1000)::float8
        as "throughMs",
      ${SETTLED_ABOVE} as ranges
    from schedules s
    left join scheduler_laggards l on l.schedule = s.id
    ${FRONTIERS_OF_SCHEDULE}
    where s.id = any ($1::bigint[])`,
    [schedules],
  );
  return new Map(
    rows.map(({ id, hasOwn, throughMs, ranges }) => [
      id,
      {
        hasOwn,
        stored: { throughMs: throughMs ?? Number.NEGATIVE_INFINITY, settledAbove: settledAbove(ranges) },
      },
    ]),
  );
}
