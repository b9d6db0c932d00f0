import { create, toBinary } from '@bufbuild/protobuf';
import { hashAssignment, SINGLE_SHARD, scopeOf } from '@carillon/core/assignment.ts';
import { ManualClock } from '@carillon/core/manual-clock.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { CronSchema, ScheduleSpecSchema } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { beforeEach, expect, test } from 'vitest';
import { DatabaseClock } from './database-clock.ts';
import { EndedPauses } from './ended-pauses.ts';
import { Ledger } from './ledger.ts';
import { SchedulerMetrics } from './metrics.ts';
import { createPostgresSettledSlots } from './settled-slots-store.ts';
import { TimingCache } from './timing-cache.ts';

const database = useDatabase();
const never = new AbortController().signal;
/** Whole hours ago, in epoch seconds. */
const BASE = (Math.floor(Date.now() / 3_600_000) - 1_000) * 3_600;
const HOURLY = timing('0 * * * *');

function timing(expression: string): Buffer {
  const spec = create(ScheduleSpecSchema, {
    pattern: { case: 'cron', value: create(CronSchema, { expression }) },
  });
  return Buffer.from(toBinary(ScheduleSpecSchema, spec));
}

let schedule = 0;
beforeEach(async () => {
  await database.pool.query('truncate slot_ledger, schedule_spans, schedule_revisions, schedules cascade');
  const { rows } = await database.pool.query<{ id: number }>(
    `insert into schedules (uid, project, domain, schedule_id, generation, revision, hash_slot)
    values (gen_random_uuid(), 'p', 'd', 's', 1, 1, 0) returning id::int as id`,
  );
  schedule = rows[0]!.id;
  await revision(1, HOURLY);
});

async function revision(number: number, bytes: Buffer): Promise<void> {
  await database.pool.query(
    `insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
    values ($1, $2, $3, '', 't', 'UTC', 'alice')`,
    [schedule, number, bytes],
  );
}

type Span = readonly [state: string, fromHour: number, toHour: number | null, endReason: string | null];

async function spans(...rows: (readonly [...Span, revision?: number, reason?: string])[]): Promise<void> {
  for (const [index, [state, from, to, end, number = 1, reason = '']] of rows.entries()) {
    await database.pool.query(
      `insert into schedule_spans (schedule, span, revision, state, from_time, to_time, end_reason, actor, reason)
      values ($1, $2, $3, $4, to_timestamp($5::float8), to_timestamp($6::float8), $7, $8, $9)`,
      [
        schedule,
        index + 1,
        number,
        state,
        BASE + from * 3_600,
        to === null ? null : BASE + to * 3_600,
        end,
        `actor-${index + 1}`,
        reason,
      ],
    );
  }
}

function recorder() {
  const ledger = new Ledger();
  const clock = new ManualClock();
  const databaseClock = new DatabaseClock(clock);
  // The pauses here ended long ago, as if they had been committed late.
  databaseClock.read((BASE + 10 * 3_600) * 1_000);
  const pauses = new EndedPauses({
    settledSlots: createPostgresSettledSlots({
      pool: database.pool,
      shard: SINGLE_SHARD,
      scope: scopeOf(hashAssignment(1, 1), SINGLE_SHARD),
      owner: 'test',
      ledgerRetentionDays: 90,
    }),
    timings: new TimingCache(),
    ledger,
    clock,
    databaseClock,
    metrics: new SchedulerMetrics(new Registry(), () => {
      throw new Error('nobody scrapes');
    }),
    logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
  });
  const recorded = async () => {
    await pauses.record(never);
    return ledger.take().map((row) => ({
      hours: [(row.nominalMs / 1000 - BASE) / 3_600, (row.lastNominalMs / 1000 - BASE) / 3_600],
      slots: row.slots,
      why: `${row.outcome} ${row.reason}`,
      message: row.message,
      revision: row.revision,
    }));
  };
  return recorded;
}

const BEGAN = ['ACTIVE', 0.5, 2.5, 'PAUSED'] as const;

test('a pause that has ended is one row with its count; an open one is none', async () => {
  await spans(
    BEGAN,
    ['PAUSED', 2.5, 6, 'UNPAUSED', 1, 'maintenance'],
    ['ACTIVE', 6, 8.5, 'PAUSED'],
    ['PAUSED', 8.5, null, null],
  );
  const recorded = recorder();
  expect(await recorded()).toEqual([
    {
      hours: [3, 6],
      slots: 4,
      why: 'SKIPPED PAUSED',
      message: 'the schedule was paused by actor-2: maintenance',
      revision: 1,
    },
  ]);
  expect(await recorded()).toEqual([]);
});

test('a pause over several revisions is a row for each, told by who began it', async () => {
  await revision(2, timing('30 * * * *'));
  await spans(
    BEGAN,
    ['PAUSED', 2.5, 4.25, 'REVISED', 1, 'why'],
    ['PAUSED', 4.25, 6.75, 'UNPAUSED', 2],
    ['ACTIVE', 6.75, null, null, 2],
  );
  expect(await recorder()()).toMatchObject([
    { hours: [3, 4], slots: 2, revision: 1, message: 'the schedule was paused by actor-2: why' },
    { hours: [4.5, 6.5], slots: 3, revision: 2, message: 'the schedule was paused by actor-2: why' },
  ]);
});

test('a pause in which nothing would have fired has no row, and one that a deletion ended has', async () => {
  await spans(
    BEGAN,
    ['PAUSED', 2.5, 2.75, 'UNPAUSED'],
    ['ACTIVE', 2.75, 3.5, 'PAUSED'],
    ['PAUSED', 3.5, 5.5, 'DELETED'],
  );
  expect(await recorder()()).toMatchObject([{ hours: [4, 5], slots: 2 }]);
});

test('a new leader finds what has no row yet, and nothing else', async () => {
  await spans(
    BEGAN,
    ['PAUSED', 2.5, 4.5, 'UNPAUSED'],
    ['ACTIVE', 4.5, 6.5, 'PAUSED'],
    ['PAUSED', 6.5, 8.5, 'UNPAUSED'],
  );
  expect(await recorder()()).toHaveLength(2);
  // The first leader wrote one of its rows before it died.
  await database.pool.query(
    `insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, epoch)
    select (t at time zone 'UTC')::date, $1, 1, t, t + interval '1 hour', 2, 'SKIPPED', 'PAUSED', 1 from to_timestamp($2::float8) as t`,
    [schedule, BASE + 3 * 3_600],
  );
  expect(await recorder()()).toMatchObject([{ hours: [7, 8], slots: 2 }]);
});

test('a slot that its overlap policy skipped before the pause was committed keeps its row, and the others have theirs', async () => {
  await spans(BEGAN, ['PAUSED', 2.5, 5.5, 'UNPAUSED'], ['ACTIVE', 5.5, null, null]);
  await database.pool.query(
    `insert into slot_ledger (day, schedule, revision, nominal_time, last_nominal_time, slots, outcome, reason, epoch)
    select (t at time zone 'UTC')::date, $1, 1, t, t, 1, 'SKIPPED', 'OVERLAP', 1 from to_timestamp($2::float8) as t`,
    [schedule, BASE + 3 * 3_600],
  );
  expect(await recorder()()).toMatchObject([{ hours: [4, 5], slots: 2, why: 'SKIPPED PAUSED' }]);
});

test('a pause that ends later is found by the same leader', async () => {
  await spans(BEGAN, ['PAUSED', 2.5, null, null]);
  const recorded = recorder();
  expect(await recorded()).toEqual([]);
  await database.pool.query(
    `update schedule_spans set to_time = to_timestamp($2::float8), end_reason = 'UNPAUSED' where schedule = $1 and span = 2`,
    [schedule, BASE + 10 * 3_600 - 200],
  );
  expect(await recorded()).toMatchObject([{ hours: [3, 9], slots: 7 }]);
  expect(await recorded()).toEqual([]);
});

test('a pause whose slots cannot be computed keeps no other from its row', async () => {
  await revision(2, Buffer.from('no spec'));
  await spans(
    BEGAN,
    ['PAUSED', 2.5, 4.5, 'REVISED', 2],
    ['PAUSED', 4.5, 6.5, 'UNPAUSED'],
    ['ACTIVE', 6.5, null, null],
  );
  expect(await recorder()()).toMatchObject([{ hours: [5, 6], slots: 2 }]);
});
