import { hashAssignment, scopeOf } from '@carillon/core/assignment.ts';
import { hashSlot } from '@carillon/core/hash-slot.ts';
import { expect, test } from 'vitest';
import { useDatabase } from '../test/database.ts';
import { insertRedrives, readRedriveKeys } from './slot-redrives.ts';

const database = useDatabase();

async function addSchedule(project: string, scheduleId: string): Promise<number> {
  const { rows } = await database.pool.query<{ id: number }>(
    `insert into schedules (uid, project, domain, schedule_id, hash_slot, generation, revision, xid)
    values (gen_random_uuid(), $1, 'd', $2, $3, 1, 1, pg_current_xact_id()) returning id::float8 as id`,
    [project, scheduleId, hashSlot({ project, domain: 'd', scheduleId })],
  );
  return rows[0]!.id;
}

test('where not all redrives can be read, projects share, and within one its schedules', async () => {
  const [first, second, other] = [
    await addSchedule('p', 'first'),
    await addSchedule('p', 'second'),
    await addSchedule('q', 'other'),
  ];
  const request = (schedule: number, minutes: readonly number[]) => {
    const slots = minutes.map((minute) => ({ revision: 1, nominalMs: minute * 60_000 }));
    return insertRedrives(database.pool, BigInt(schedule), slots, 'me');
  };
  await request(first, [4, 3, 2, 1]);
  await request(second, [1, 2]);
  await request(other, [1]);

  const assignment = hashAssignment(1, 1);
  const scope = scopeOf(assignment, assignment.shards[0]!.name);
  const read = async (limit: number) =>
    (await readRedriveKeys(database.pool, scope, limit)).map(({ schedule, nominalMs }) => [
      schedule,
      nominalMs / 60_000,
    ]);
  expect((await read(10)).toSorted()).toEqual(
    [
      [first, 1],
      [first, 2],
      [first, 3],
      [first, 4],
      [second, 1],
      [second, 2],
      [other, 1],
    ].toSorted(),
  );
  expect((await read(4)).toSorted()).toEqual(
    [
      [first, 1],
      [first, 2],
      [second, 1],
      [other, 1],
    ].toSorted(),
  );
});
