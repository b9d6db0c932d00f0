import { type Kysely, sql } from 'kysely';
import { expect, test } from 'vitest';
import { createDatabase } from './database.ts';
import {
  addDays,
  dailyPartitions,
  dropDailyPartitions,
  ensureDailyPartitions,
  utcDay,
} from './partitions.ts';
import { useDatabase } from './test/database.ts';

const database = useDatabase();

interface Diary {
  day: string;
  entry: number;
}
type Db = Kysely<Record<string, Diary>>;

let tables = 0;
async function diary(): Promise<{ db: Db; table: string }> {
  const db: Db = createDatabase(database.pool);
  const table = `diary_${++tables}`;
  await sql`
    create table ${sql.table(table)} (day date not null, entry integer not null, primary key (entry, day)) partition by range (day)
  `.execute(db);
  await sql`create table ${sql.table(`${table}_default`)} partition of ${sql.table(table)} default`.execute(
    db,
  );
  return { db, table };
}

async function write(db: Db, table: string, day: string, entry: number): Promise<void> {
  await sql`insert into ${sql.table(table)} (day, entry) values (${day}, ${entry})`.execute(db);
}

async function places(db: Db, table: string): Promise<string[]> {
  const { rows } = await sql<{ place: string }>`
    select tableoid::regclass || ':' || entry as place from ${sql.table(table)} order by entry
  `.execute(db);
  return rows.map(({ place }) => place);
}

test('days', () => {
  expect(utcDay(Date.UTC(2026, 1, 28, 23, 59, 59, 999) * 1000 + 999)).toBe('2026-02-28');
  expect(addDays('2026-02-28', 1)).toBe('2026-03-01');
  expect(addDays('2027-01-01', -1)).toBe('2026-12-31');
});

test('makes what is missing, and nothing twice', async () => {
  const { db, table } = await diary();
  const first = await ensureDailyPartitions(db, { table }, '2026-02-27', '2026-03-01');
  expect(first).toEqual({ done: ['2026-02-27', '2026-02-28', '2026-03-01'], putOff: [] });
  const second = await ensureDailyPartitions(db, { table }, '2026-02-28', '2026-03-02');
  expect(second).toEqual({ done: ['2026-03-02'], putOff: [] });
  expect(await dailyPartitions(db, { table })).toEqual([
    '2026-02-27',
    '2026-02-28',
    '2026-03-01',
    '2026-03-02',
  ]);
});

test('moves rows that already lie in the default partition, and no others', async () => {
  const { db, table } = await diary();
  await write(db, table, '2026-02-27', 1);
  await write(db, table, '2026-02-28', 2);
  await write(db, table, '2026-02-28', 3);
  await write(db, table, '2026-03-01', 4);
  await ensureDailyPartitions(db, { table }, '2026-02-28', '2026-02-28');
  expect(await places(db, table)).toEqual([
    `${table}_default:1`,
    `${table}_20260228:2`,
    `${table}_20260228:3`,
    `${table}_default:4`,
  ]);
  await write(db, table, '2026-02-28', 5);
  expect((await places(db, table)).at(-1)).toBe(`${table}_20260228:5`);
});

test('has the indexes of the table, so that names stay unique', async () => {
  const { db, table } = await diary();
  await ensureDailyPartitions(db, { table }, '2026-02-28', '2026-02-28');
  await write(db, table, '2026-02-28', 1);
  await expect(write(db, table, '2026-02-28', 1)).rejects.toThrow(/duplicate key/);
});

test('two who do the same at once make each partition once, and lose no row', async () => {
  const { db, table } = await diary();
  for (let entry = 0; entry < 20; entry++) await write(db, table, addDays('2026-03-01', entry % 5), entry);
  const works = await Promise.all(
    Array.from({ length: 4 }, () => ensureDailyPartitions(db, { table }, '2026-03-01', '2026-03-05')),
  );
  // Whoever waited too long puts a day off, which the other has made.
  expect(works.flatMap(({ putOff }) => putOff).every((day) => day <= '2026-03-05')).toBe(true);
  expect(await dailyPartitions(db, { table })).toHaveLength(5);
  expect(await places(db, table)).toHaveLength(20);
  expect((await places(db, table)).every((place) => !place.startsWith(`${table}_default`))).toBe(true);
});

test('puts off what others hold, and does not keep them waiting', async () => {
  const { db, table } = await diary();
  const writer = await database.pool.connect();
  try {
    await writer.query('begin');
    await writer.query(`insert into ${table} (day, entry) values ('2026-02-28', 1)`);
    const work = await ensureDailyPartitions(db, { table }, '2026-02-28', '2026-02-28');
    expect(work).toEqual({ done: [], putOff: ['2026-02-28'] });
    await writer.query('commit');
  } finally {
    writer.release();
  }
  const again = await ensureDailyPartitions(db, { table }, '2026-02-28', '2026-02-28');
  expect(again.done).toEqual(['2026-02-28']);
  expect(await places(db, table)).toEqual([`${table}_20260228:1`]);
});

test('drops what is old, in the default partition too', async () => {
  const { db, table } = await diary();
  await ensureDailyPartitions(db, { table }, '2026-03-01', '2026-03-03');
  await write(db, table, '2026-01-01', 1);
  await write(db, table, '2026-03-01', 2);
  await write(db, table, '2026-03-02', 3);
  await write(db, table, '2026-04-01', 4);
  const work = await dropDailyPartitions(db, { table }, '2026-03-02');
  expect(work).toEqual({ done: ['2026-03-01'], putOff: [] });
  expect(await places(db, table)).toEqual([`${table}_20260302:3`, `${table}_default:4`]);
});
