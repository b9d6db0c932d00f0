import { sql } from 'kysely';
import { type RunDb, type RunRow, runColumns } from './runs.ts';

/**
 * Up to where changes of runs were read: the `pg_current_snapshot()` of the last read. What that snapshot could not see is what
 * the next one returns, so a transaction that commits late is not lost, however long others stay open.
 */
export interface FeedPosition {
  /** The first transaction that had not begun. */
  readonly xmax: string;
  /** Those below it that were under way. */
  readonly inProgress: readonly string[];
}

/** What was read. */
export interface FeedRead {
  /** Where to go on. */
  readonly position: FeedPosition;
  /** The present state of the runs that have changed, in no particular order. */
  readonly rows: readonly RunRow[];
  /** There were more than `limit`; `rows` is then some of them. */
  readonly truncated: boolean;
}

/** The present. */
export async function readFeedPosition(db: RunDb): Promise<FeedPosition> {
  const { rows } = await sql<{ snapshot: string }>`select pg_current_snapshot()::text as snapshot`.execute(
    db,
  );
  return positionOf(rows[0]?.snapshot);
}

/** Reads what has changed since `position`, in one statement and so in one snapshot, which is the new position. */
export async function readFeed(db: RunDb, position: FeedPosition, limit: number): Promise<FeedRead> {
  const { rows } = await sql<{ snapshot: string } & (RunRow | { readonly run_id: null })>`
    with changed as materialized (
      select ${runColumns('runs')} from runs
      where xid >= ${position.xmax}::xid8 or xid = any(${position.inProgress}::xid8[])
      limit ${limit + 1}
    )
    select pg_current_snapshot()::text as snapshot, changed.*
    from (values (1)) as always
    left join changed on true
  `.execute(db);
  const changed = rows.filter((row) => row.run_id !== null);
  return {
    position: positionOf(rows[0]?.snapshot),
    rows: changed.slice(0, limit),
    truncated: changed.length > limit,
  };
}

function positionOf(snapshot: string | undefined): FeedPosition {
  // xmin:xmax:those in progress
  const [, xmax, inProgress] = snapshot?.split(':') ?? [];
  if (xmax === undefined || inProgress === undefined) throw new Error(`${snapshot} is no snapshot`);
  return { xmax, inProgress: inProgress === '' ? [] : inProgress.split(',') };
}
