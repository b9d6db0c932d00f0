import { type Kysely, sql, type Transaction } from 'kysely';
import { SqlState, sqlState } from './sqlstate.ts';
import { transaction } from './transaction.ts';

/**
 * A table that is partitioned by range over a column `day` of type date, with a default partition `<table>_default`. The
 * partition of a day is called `<table>_<yyyymmdd>`.
 */
export interface DailyTable {
  /** Its name. Never from a request: it becomes part of statements. */
  readonly table: string;
}

/** What came of an attempt to make or drop partitions. */
export interface PartitionWork {
  /** The days whose partition was made or dropped, oldest first. */
  readonly done: readonly string[];
  /** The days that were put off, because others held the table for too long. Try again later. */
  readonly putOff: readonly string[];
}

/** How long a change of partitions waits for a lock: everybody who comes after it waits as well. */
const LOCK_TIMEOUT_MS = 500;

const MS_PER_DAY = 86_400_000;

/** The UTC day of an instant in microseconds since the epoch, as in `2026-11-01`. */
export function utcDay(micros: number): string {
  return new Date(micros / 1000).toISOString().slice(0, 10);
}

/** The day that lies `days` after `day`, or before it if negative. */
export function addDays(day: string, days: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + days * MS_PER_DAY).toISOString().slice(0, 10);
}

/** The current UTC day by the database's clock. */
export async function databaseDay<Tables>(db: Kysely<Tables>): Promise<string> {
  const { rows } = await sql<{ day: string }>`
    select (clock_timestamp() at time zone 'UTC')::date::text as day
  `.execute(db);
  const [row] = rows;
  if (row === undefined) throw new Error('the database did not tell its day');
  return row.day;
}

/**
 * Makes the partitions of all days from `first` to `last` that are missing, each in a transaction of its own. Rows of such a
 * day that lie in the default partition are moved. Harmless when several do so at once.
 */
export async function ensureDailyPartitions<Tables>(
  db: Kysely<Tables>,
  table: DailyTable,
  first: string,
  last: string,
): Promise<PartitionWork> {
  const present = new Set(await dailyPartitions(db, table));
  const missing: string[] = [];
  for (let day = first; day <= last; day = addDays(day, 1)) if (!present.has(day)) missing.push(day);
  return await eachDay(db, missing, (trx, day) => makePartition(trx, table, day));
}

/**
 * Drops the partitions of all days before `day`, each in a transaction of its own, and deletes what the default partition
 * holds of such days.
 */
export async function dropDailyPartitions<Tables>(
  db: Kysely<Tables>,
  table: DailyTable,
  before: string,
): Promise<PartitionWork> {
  const old = (await dailyPartitions(db, table)).filter((day) => day < before);
  const work = await eachDay(db, old, async (trx, day) => {
    await sql`drop table if exists ${sql.table(partitionName(table, day))}`.execute(trx);
  });
  await sql`delete from ${sql.table(defaultName(table))} where day < ${before}::date`.execute(db);
  return work;
}

/** The days that have a partition, oldest first. */
export async function dailyPartitions<Tables>(db: Kysely<Tables>, { table }: DailyTable): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select partition.relname as name
    from pg_inherits
    join pg_class partition on partition.oid = inhrelid
    where inhparent = ${table}::regclass
    order by name
  `.execute(db);
  return rows.flatMap(({ name }) => {
    const day = /_(\d{4})(\d{2})(\d{2})$/.exec(name);
    return day === null ? [] : [`${day[1]}-${day[2]}-${day[3]}`];
  });
}

async function eachDay<Tables>(
  db: Kysely<Tables>,
  days: readonly string[],
  step: (trx: Transaction<Tables>, day: string) => Promise<void>,
): Promise<PartitionWork> {
  const done: string[] = [];
  const putOff: string[] = [];
  for (const day of days) {
    try {
      await transaction(db, {}, async (trx) => {
        await sql`set local lock_timeout = ${sql.lit(LOCK_TIMEOUT_MS)}`.execute(trx);
        await step(trx, day);
      });
      done.push(day);
    } catch (error) {
      const state = sqlState(error);
      if (state !== SqlState.lockNotAvailable && state !== SqlState.deadlockDetected) throw error;
      putOff.push(day);
    }
  }
  return { done, putOff };
}

/**
 * `create table … partition of` would lock the whole table, and fails when the default partition holds rows of the day.
 * Attaching locks the default partition alone, where hardly anything is ever written; it is locked before its rows
 * are moved, so that none can follow.
 */
async function makePartition<Tables>(
  trx: Transaction<Tables>,
  table: DailyTable,
  day: string,
): Promise<void> {
  const parent = sql.table(table.table);
  const fallback = sql.table(defaultName(table));
  const partition = sql.table(partitionName(table, day));
  const next = addDays(day, 1);
  await sql`lock table ${fallback} in access exclusive mode`.execute(trx);
  // Another replica may have made it while this one waited.
  const { rows } = await sql`
    select from pg_class where oid = to_regclass(${partitionName(table, day)})
  `.execute(trx);
  if (rows.length > 0) return;
  await sql`create table ${partition} (like ${parent} including all)`.execute(trx);
  await sql`
    with moved as (delete from ${fallback} where day >= ${day}::date and day < ${next}::date returning *)
    insert into ${partition} select * from moved
  `.execute(trx);
  await sql`
    alter table ${parent} attach partition ${partition} for values from (${sql.lit(day)}) to (${sql.lit(next)})
  `.execute(trx);
}

function partitionName({ table }: DailyTable, day: string): string {
  return `${table}_${day.replaceAll('-', '')}`;
}

function defaultName({ table }: DailyTable): string {
  return `${table}_default`;
}
