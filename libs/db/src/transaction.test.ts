import { sql } from 'kysely';
import { beforeEach, expect, test } from 'vitest';
import { createDatabase } from './database.ts';
import { SqlState, sqlState } from './sqlstate.ts';
import { useDatabase } from './test/database.ts';
import { systemClock, systemEntropy } from './test/system-clock.ts';
import { type ConflictRetry, transaction } from './transaction.ts';

interface Tables {
  readonly counters: { id: number; value: number };
}

const database = useDatabase();
const retry: ConflictRetry = { clock: systemClock, entropy: systemEntropy };
const view = () => createDatabase<Tables>(database.pool);

beforeEach(async () => {
  await database.pool.query(`
    drop table if exists counters;
    create table counters (id int primary key, value int not null);
    insert into counters values (1, 0), (2, 0)`);
});

async function values(): Promise<number[]> {
  const { rows } = await database.pool.query('select value from counters order by id');
  return rows.map((row) => row.value);
}

test('commits what resolves, and hands out the result', async () => {
  const result = await transaction(view(), {}, async (trx) => {
    await trx.updateTable('counters').set({ value: 5 }).where('id', '=', 1).execute();
    return 'done';
  });
  expect(result).toBe('done');
  expect(await values()).toEqual([5, 0]);
});

test('rolls back what rejects', async () => {
  const failing = transaction(view(), { retry }, async (trx) => {
    await trx.updateTable('counters').set({ value: 5 }).execute();
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(await values()).toEqual([0, 0]);
});

/** Reads and writes so that two at once conflict; `meet` is awaited between. */
function increment(meet: () => Promise<void>, options: { retry?: ConflictRetry }): Promise<number> {
  let attempts = 0;
  return transaction(view(), { isolation: 'serializable', ...options }, async (trx) => {
    attempts++;
    const row = await trx
      .selectFrom('counters')
      .select('value')
      .where('id', '=', 1)
      .executeTakeFirstOrThrow();
    if (attempts === 1) await meet();
    await trx
      .updateTable('counters')
      .set({ value: row.value + 1 })
      .where('id', '=', 1)
      .execute();
    return attempts;
  });
}

/** Lets its callers go on when `count` of them have come. */
function meeting(count: number): () => Promise<void> {
  const all = Promise.withResolvers<void>();
  let here = 0;
  return () => {
    here++;
    if (here === count) all.resolve();
    return all.promise;
  };
}

test('repeats what lost against others, until all are in', async () => {
  const meet = meeting(5);
  const attempts = await Promise.all(
    Array.from({ length: 5 }, () => increment(meet, { retry: { ...retry, attempts: 50 } })),
  );
  expect(await values()).toEqual([5, 0]);
  expect(Math.max(...attempts)).toBeGreaterThan(1);
});

test('repeats what was the victim of a deadlock', async () => {
  const meet = meeting(2);
  const crosswise = (first: number, second: number): Promise<void> => {
    let attempts = 0;
    return transaction(view(), { retry }, async (trx) => {
      attempts++;
      const add = (id: number) =>
        trx
          .updateTable('counters')
          .set((eb) => ({ value: eb('value', '+', 1) }))
          .where('id', '=', id)
          .execute();
      await add(first);
      if (attempts === 1) await meet();
      await add(second);
    });
  };
  await Promise.all([crosswise(1, 2), crosswise(2, 1)]);
  expect(await values()).toEqual([2, 2]);
});

test('does not repeat without being told to, and no more often than told', async () => {
  const meet = meeting(2);
  const outcomes = await Promise.allSettled([
    increment(meet, {}),
    increment(meet, { retry: { ...retry, attempts: 1 } }),
  ]);
  const lost = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(lost.map((outcome) => sqlState(outcome.reason))).toEqual([SqlState.serializationFailure]);
  expect(await values()).toEqual([1, 0]);
});

test('stops waiting when told to', async () => {
  const stop = new AbortController();
  const conflict = Object.assign(new Error('conflict'), {
    severity: 'ERROR',
    code: SqlState.serializationFailure,
  });
  const never = { ...retry, clock: { ...systemClock, after: () => ({ cancel: () => undefined }) } };
  const waiting = transaction(view(), { retry: { ...never, signal: stop.signal } }, async () => {
    queueMicrotask(() => stop.abort(new Error('shutting down')));
    throw conflict;
  });
  await expect(waiting).rejects.toThrow('shutting down');
});

test('a limit of its own holds, though the pool has a longer one', async () => {
  const slow = transaction(view(), { timeoutMs: 100 }, (trx) => sql`select pg_sleep(20)`.execute(trx));
  await expect(slow).rejects.toMatchObject({ code: SqlState.transactionTimeout });
});

test('read only refuses writes', async () => {
  const writing = transaction(view(), { readOnly: true }, (trx) => trx.deleteFrom('counters').execute());
  await expect(writing).rejects.toMatchObject({ code: SqlState.readOnlyTransaction });
});
