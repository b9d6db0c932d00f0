import { hashAssignment, SINGLE_SHARD, scopeOf } from '@carillon/core/assignment.ts';
import { LINEAGE } from '@carillon/db/server-session.ts';
import type { Redrive, SettledRedrive } from '@carillon/db/tables/slot-redrives.ts';
import { insertRedrives } from '@carillon/db/tables/slot-redrives.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { expect, test } from 'vitest';
import { createPostgresSettledSlots } from './settled-slots-store.ts';

const EVERYTHING = scopeOf(hashAssignment(1, 1), SINGLE_SHARD);

const database = useDatabase();

const NOMINAL_MS = 1_780_000_000_000;

function deadAgain({ schedule, nominalMs, revision, requestMs }: Redrive): SettledRedrive {
  return {
    schedule,
    nominalMs,
    revision,
    requestMs,
    outcome: 'DEAD',
    reason: 'INVALID_ARGUMENT',
    message: 'the inputs are refused',
    runId: '',
    fireMs: undefined,
    latenessMs: undefined,
  };
}

test('a settlement that is written down twice leaves alone what was asked for in between', async () => {
  const { pool } = database;
  const { rows } = await pool.query<{ id: string }>(
    `insert into schedules (uid, project, domain, schedule_id, generation, revision, hash_slot)
    values (gen_random_uuid(), 'p', 'd', 's', 1, 1, 0) returning id`,
  );
  const schedule = BigInt(rows[0]!.id);
  await pool.query(
    `insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
    values ($1, 1, '', '', 't', 'UTC', 'alice')`,
    [schedule],
  );
  await pool.query(
    `insert into scheduler_leases (shard, owner, epoch, expire_time) values ('default', 'me', 3, now() + interval '1 minute')`,
  );
  const store = createPostgresSettledSlots({
    pool,
    shard: SINGLE_SHARD,
    scope: EVERYTHING,
    owner: 'me',
    ledgerRetentionDays: 30,
  });
  const { rows: servers } = await pool.query<{ lineage: string }>(`select ${LINEAGE} as lineage`);
  const lease = { epoch: 3, lineage: servers[0]!.lineage };
  const ask = async (): Promise<Redrive> => {
    await insertRedrives(pool, schedule, [{ revision: 1, nominalMs: NOMINAL_MS }], 'alice');
    const [redrive] = await store.readRedrives(await store.readRedriveKeys(10));
    if (redrive === undefined) throw new Error('there is no request');
    return redrive;
  };

  const first = await ask();
  // Its answer is lost, so that the scheduler says it again.
  expect(await store.settleRedrives(lease, [deadAgain(first)])).toBe(true);
  expect(await store.readRedriveKeys(10)).toEqual([]);
  const second = await ask();
  expect(second.requestMs).toBeGreaterThan(first.requestMs);
  expect(await store.settleRedrives(lease, [deadAgain(first)])).toBe(true);
  expect(await store.readRedriveKeys(10)).toHaveLength(1);
  expect(await store.settleRedrives(lease, [deadAgain(second)])).toBe(true);
  expect(await store.readRedriveKeys(10)).toEqual([]);

  // In a standby that was promoted meanwhile, its run may be missing.
  const third = await ask();
  const promoted = { ...lease, lineage: 'another' };
  expect(await store.settleRedrives(promoted, [deadAgain(third)])).toBe(false);
  expect(await store.readRedriveKeys(10)).toHaveLength(1);
});
