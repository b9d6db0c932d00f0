import { sleep } from '@carillon/core/clock.ts';
import { hashSlot } from '@carillon/core/hash-slot.ts';
import { createDatabase } from '@carillon/db';
import type { ScheduleTables } from '@carillon/db/tables/schedule-tables.ts';
import { findScheduleView } from '@carillon/db/tables/schedule-views.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { systemClock } from '@carillon/server';
import { createRouterTransport } from '@connectrpc/connect';
import type pg from 'pg';
import { expect, test } from 'vitest';
import { PARENT, specOf, startSchedules } from './service-under-test.ts';
import { SlotHistory } from './slot-history.ts';
import { SlotRuns } from './slot-runs.ts';

const database = useDatabase();
const HOUR = 3_600;

/** Resolves when a statement waits for another transaction. */
async function someoneWaits(pool: pg.Pool): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      'select from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0',
    );
    if (rowCount !== 0) return;
    await sleep(systemClock, 10);
  }
}

test('a span that is committed while slots are read is not told by a watermark that does not know of it', async () => {
  await using service = await startSchedules(database);
  await service.client.createSchedule({
    parent: PARENT,
    scheduleId: 'late',
    schedule: { spec: specOf() },
    inactive: true,
  });
  const name = { project: 'p', domain: 'd', scheduleId: 'late' };
  const view = (await findScheduleView(createDatabase<ScheduleTables>(database.pool), name))!;
  const runsTransport = createRouterTransport(({ service: register }) => {
    register(RunService, {
      batchGetRuns: async ({ requests }) => ({
        results: requests.map((request) => ({ name: request.name })),
      }),
    });
  });
  const history = new SlotHistory(database.pool, new SlotRuns(runsTransport, 'carillon'), () => undefined);
  const nowSec = Math.floor(systemClock.now() / 1000);
  const outcomes = async () => {
    const { slots } = await history.page(view, () => ({
      afterSec: 0,
      throughSec: nowSec,
      descending: true,
      limit: 10,
      outcomes: undefined,
    }));
    return slots.map(({ account }) => account.outcome);
  };
  const frontier = (snapshot: string) =>
    `insert into scheduler_frontiers (unit, due_through, feed_snapshot, epoch, format)
    values (${hashSlot(name)}, to_timestamp(${nowSec}), ${snapshot}, 1, 1)
    on conflict (unit) do update set feed_snapshot = excluded.feed_snapshot`;
  await database.pool.query(frontier('pg_current_snapshot()'));

  const writer = await database.pool.connect();
  try {
    await writer.query('begin');
    await writer.query('lock table schedule_revisions in access exclusive mode');
    const meanwhile = outcomes();
    // How far it is settled was read, and its spans were not.
    await someoneWaits(database.pool);
    // A scheduler has read the span, and has settled none of it.
    await writer.query(
      `insert into schedule_spans (schedule, span, revision, state, from_time, actor, reason)
      values ($1, 1, 1, 'ACTIVE', to_timestamp($2), 'somebody', '')`,
      [view.id, nowSec - 3 * HOUR],
    );
    await writer.query(frontier(`'1000000000:1000000000:'`));
    await writer.query(
      `insert into scheduler_laggards (schedule, unit, due_through, settled_above, epoch, format)
      values ($1, $2, to_timestamp($3), '{}', 1, 1)`,
      [view.id, hashSlot(name), nowSec - 3 * HOUR],
    );
    await writer.query('commit');
    expect(await meanwhile).toEqual([]);
  } finally {
    writer.release(true);
  }
  expect(await outcomes()).toEqual(['PENDING', 'PENDING', 'PENDING']);
});
