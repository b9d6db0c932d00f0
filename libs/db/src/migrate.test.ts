import { type Kysely, sql } from 'kysely';
import { expect, test } from 'vitest';
import { type MigrateOptions, migrate } from './migrate.ts';
import { migrations as ours } from './migrations/index.ts';
import { assertCompatible, assertSchemaCompatible, readSchemaState } from './schema-compatibility.ts';
import { latestVersion, type SchemaMigration, schemaVersion } from './schema-migration.ts';
import { assertServerVersion } from './server-version.ts';
import { useDatabase } from './test/database.ts';
import { systemClock, systemEntropy } from './test/system-clock.ts';

type Migrations = Readonly<Record<string, SchemaMigration>>;

const first: Migrations = { '0001-people': step('create table people (name text)') };
const second: Migrations = { ...first, '0002-ages': step('alter table people add age int') };
const contract: Migrations = {
  ...second,
  '0003-no-names': { ...step('alter table people drop name'), oldestBinary: 2 },
};

function step(statement: string): SchemaMigration {
  return {
    async up(db: Kysely<unknown>) {
      await sql.raw(statement).execute(db);
    },
  };
}

const empty = useDatabase({ empty: true });

function run(migrations: Migrations, more: Partial<MigrateOptions> = {}): Promise<readonly string[]> {
  return migrate({
    url: empty.url,
    clock: systemClock,
    entropy: systemEntropy,
    log: () => undefined,
    migrations,
    ...more,
  });
}

async function columns(): Promise<string[]> {
  const { rows } = await empty.pool.query(
    `select column_name as name from information_schema.columns where table_name = 'people' order by 1`,
  );
  return rows.map((row) => row.name);
}

// One database, taken through its life: each test goes on from where the one before left it.
test('an empty database is older than any program', async () => {
  expect(await readSchemaState(empty.pool)).toEqual({ version: 0, oldestBinary: 0 });
  await expect(assertSchemaCompatible(empty.pool, first)).rejects.toThrow(
    "the database's schema has version 0, this program needs 1: migrate the database first",
  );
});

test('a migration that fails leaves nothing, and is named', async () => {
  const broken = { ...first, '0002-broken': step('alter table nobody add age int') };
  await expect(run(broken)).rejects.toThrow('migration "0002-broken" failed');
  expect(await columns()).toEqual([]);
  expect(await readSchemaState(empty.pool)).toEqual({ version: 0, oldestBinary: 0 });
});

test('of eight that start at once one migrates, and all go on', async () => {
  const applied = await Promise.all(Array.from({ length: 8 }, () => run(first)));
  expect(applied.flat()).toEqual(['0001-people']);
  await assertSchemaCompatible(empty.pool, first);
});

test('a migration that waits for a lock lets go, says so, and comes back', { timeout: 60_000 }, async () => {
  const holder = await empty.pool.connect();
  await holder.query('begin; set local idle_in_transaction_session_timeout = 0; lock table people');
  const said = Promise.withResolvers<string>();
  const migrating = run(second, { log: said.resolve });
  expect(await said.promise).toBe('a migration waits for a lock that others hold');
  await holder.query('commit');
  holder.release();
  expect(await migrating).toEqual(['0002-ages']);
  expect(await columns()).toEqual(['age', 'name']);
});

test('a step that only expands leaves the older program working; it migrates nothing', async () => {
  await assertSchemaCompatible(empty.pool, first);
  expect(await run(first)).toEqual([]);
});

test('a step that contracts makes programs refuse that it leaves behind, and no others', async () => {
  expect(await run(contract)).toEqual(['0003-no-names']);
  await assertSchemaCompatible(empty.pool, contract);
  await assertSchemaCompatible(empty.pool, second);
  const refusal =
    "the database's schema has version 3, which programs need version 2 for; this one is made for 1: deploy a newer one";
  await expect(assertSchemaCompatible(empty.pool, first)).rejects.toThrow(refusal);
  await expect(run(first)).rejects.toThrow(refusal);
});

test.each([
  [{ version: 3, oldestBinary: 0 }, 3, undefined],
  [{ version: 4, oldestBinary: 3 }, 3, undefined],
  [{ version: 4, oldestBinary: 4 }, 3, /deploy a newer one/],
  [{ version: 2, oldestBinary: 0 }, 3, /migrate the database first/],
])('%j and a program for %i: %s', (database, binary, refusal) => {
  const check = (): void => assertCompatible(database, binary);
  if (refusal) expect(check).toThrow(refusal);
  else expect(check).not.toThrow();
});

test('our own migrations are numbered without a gap, and a test database has them all', async () => {
  expect(latestVersion(ours)).toBe(Object.keys(ours).length);
  expect(() => latestVersion({ '0002-late': step('') })).toThrow('stands at place 1');
  expect(() => schemaVersion('2-short')).toThrow('is no name of a migration');
});

const migrated = useDatabase();

test('a test database is migrated', async () => {
  await assertSchemaCompatible(migrated.pool);
  expect((await readSchemaState(migrated.pool)).version).toBe(latestVersion(ours));
});

test('a server that is too old is named', async () => {
  await assertServerVersion(migrated.pool);
  await expect(assertServerVersion(migrated.pool, 99)).rejects.toThrow(
    /^PostgreSQL 99 or later is needed, this one is \d\d$/,
  );
});
