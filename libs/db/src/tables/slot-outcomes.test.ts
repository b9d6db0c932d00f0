import { expect, test } from 'vitest';
import { useDatabase } from '../test/database.ts';
import { readRecordedOutcomes } from './slot-outcomes.ts';

const database = useDatabase();

test('a row of slots that nobody can count is found from within its stretch of time', async () => {
  const { pool } = database;
  await pool.query(
    `insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, epoch)
    values ('2026-11-20', 7, 1, '2026-11-20T00:00:01Z', '2026-11-25T00:00:00Z', 0, 'MISSED', 'UNREADABLE', 1),
      ('2026-11-20', 7, 1, '2026-11-20T12:00:00Z', '2026-11-20T12:00:00Z', 1, 'MISSED', 'BEYOND_WINDOW', 1)`,
  );
  const atMs = Date.parse('2026-11-23T00:00:00Z');
  expect(await readRecordedOutcomes(pool, 7n, atMs, atMs + 1_000)).toMatchObject([
    { slots: 0, outcome: 'MISSED', reason: 'UNREADABLE', nominalMs: Date.parse('2026-11-20T00:00:01Z') },
  ]);
});
