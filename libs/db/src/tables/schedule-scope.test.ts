import {
  type Assignment,
  hashAssignment,
  namedAssignment,
  type ShardScope,
  scopeOf,
  shardOf,
} from '@carillon/core/assignment.ts';
import { hashSlot } from '@carillon/core/hash-slot.ts';
import type pg from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { useDatabase } from '../test/database.ts';
import { readEndedPauses } from './ended-pauses.ts';
import {
  type FeedRow,
  readAllSchedules,
  readChangedSchedules,
  readMissedChanges,
  readOutdatedSchedules,
} from './schedule-feed.ts';
import { liftOtherQuarantines, readQuarantinedTimes, writeQuarantines } from './schedule-quarantines.ts';
import { readRedriveKeys } from './slot-redrives.ts';

const database = useDatabase();
/** The last would be a fault in a text that names were pasted into. */
const NAMES = [
  ['shop', 'dev'],
  ['shop', 'live'],
  ['billing', 'dev'],
  ['research', 'live'],
  ["o'neill", 'test'],
] as const;
const PER_NAME = 4;
const ALL_SEEN = '1:1:';

const ASSIGNMENTS: readonly (readonly [string, Assignment])[] = [
  ['one shard', hashAssignment(1, 1)],
  ['hash', hashAssignment(1, 3)],
  ['project', namedAssignment(1, 'project', [['shop', "o'neill"], ['billing'], ['*']])],
  ['domain', namedAssignment(1, 'domain', [['dev'], ['*']])],
  ['one shard by domain', namedAssignment(1, 'domain', [['*']])],
];

interface Row {
  readonly id: number;
  readonly hashSlot: number;
  readonly project: string;
  readonly domain: string;
}

let schedules: Row[];

beforeAll(async () => {
  for (const [project, domain] of NAMES) {
    for (let i = 0; i < PER_NAME; i++) await addSchedule(database.pool, project, domain, `s${i}`);
  }
  const { rows } = await database.pool.query<Row>(
    'select id::float8 as id, hash_slot as "hashSlot", project, domain from schedules order by id',
  );
  schedules = rows;
});

/** A schedule with a pause that has ended, a redrive and a quarantine. */
async function addSchedule(
  pool: pg.Pool,
  project: string,
  domain: string,
  scheduleId: string,
): Promise<void> {
  const { rows } = await pool.query<{ id: string }>(
    `insert into schedules (uid, project, domain, schedule_id, hash_slot, generation, revision, xid)
    values (gen_random_uuid(), $1, $2, $3, $4, 1, 1, pg_current_xact_id()) returning id`,
    [project, domain, scheduleId, hashSlot({ project, domain, scheduleId })],
  );
  const { id } = rows[0]!;
  await pool.query(
    `insert into schedule_revisions (schedule, revision, timing, run, task, time_zone, actor)
    values ($1, 1, '', '', 'test', 'UTC', 'me')`,
    [id],
  );
  await pool.query(
    `insert into schedule_spans (schedule, span, revision, state, from_time, to_time, end_reason, actor, reason, xid)
    select $1, span, 1, state, now() - age * interval '1 hour', now() - ended * interval '1 hour', reason, 'me', '', pg_current_xact_id()
    from (values (1, 'ACTIVE', 4, 3, 'PAUSED'), (2, 'PAUSED', 3, 2, 'UNPAUSED'), (3, 'ACTIVE', 2, null, null))
      as span (span, state, age, ended, reason)`,
    [id],
  );
  await pool.query(
    `insert into slot_redrives (schedule, revision, nominal_time, actor) values ($1, 1, now(), 'me')`,
    [id],
  );
}

const idsOf = (rows: Iterable<{ readonly id: number }>): number[] =>
  [...new Set([...rows].map(({ id }) => id))].sort((a, b) => a - b);

/** What a read of the feed finds, over a connection of its own. */
async function found(
  read: (client: pg.ClientBase, onPage: (rows: readonly FeedRow[]) => Promise<void>) => Promise<unknown>,
): Promise<number[]> {
  const rows: FeedRow[] = [];
  const client = await database.pool.connect();
  try {
    await read(client, async (page) => void rows.push(...page));
  } finally {
    client.release();
  }
  return idsOf(rows);
}

describe.each(ASSIGNMENTS)(
  'sharded by %s, each read finds the schedules of its shard alone',
  (_, assignment) => {
    const each = async (check: (scope: ShardScope, own: number[]) => Promise<void>): Promise<void> => {
      let seen = 0;
      for (const { name } of assignment.shards) {
        const own = schedules.filter((row) => shardOf(assignment, row) === name);
        await check(scopeOf(assignment, name), idsOf(own));
        seen += own.length;
      }
      expect(seen).toBe(schedules.length);
    };

    test('everything, and what is outdated', async () => {
      await each(async (scope, own) => {
        expect(
          await found((client, onPage) => readAllSchedules(client, scope, () => undefined, onPage)),
        ).toEqual(own);
        const outdated = await found((client, onPage) =>
          readOutdatedSchedules(
            client,
            scope,
            () => ALL_SEEN,
            () => [],
            (ids) => expect([...ids].sort((a, b) => a - b)).toEqual(own),
            onPage,
          ),
        );
        expect(outdated).toEqual(own);
      });
    });

    test('what has changed, and what was missed', async () => {
      const { rows } = await database.pool.query<{ now: string }>(
        'select pg_current_snapshot()::text as now',
      );
      await each(async (scope, own) => {
        const none = () => Number.POSITIVE_INFINITY;
        const changed = await found((client, onPage) =>
          readChangedSchedules(client, scope, () => ALL_SEEN, none, onPage),
        );
        expect(changed).toEqual(own);
        const missed = await found((client, onPage) =>
          readMissedChanges(
            client,
            scope,
            () => rows[0]!.now,
            () => true,
            none,
            onPage,
          ),
        );
        expect(missed).toEqual(own);
      });
    });

    test('redrives and ended pauses', async () => {
      await each(async (scope, own) => {
        const redrives = await readRedriveKeys(database.pool, scope, 1_000);
        expect(idsOf(redrives.map(({ schedule }) => ({ id: schedule })))).toEqual(own);
        const pauses = await readEndedPauses(database.pool, scope, undefined, 30, 1_000);
        expect(idsOf(pauses.map(({ schedule }) => ({ id: schedule })))).toEqual(own);
      });
    });

    test('quarantines to be lifted', async () => {
      await each(async (scope, own) => {
        await writeQuarantines(
          database.pool,
          schedules.map(({ id }) => ({
            schedule: id,
            generation: 1,
            reason: 'test',
            throughSpan: undefined,
          })),
        );
        const read = await readQuarantinedTimes(database.pool, scope, 1_000);
        expect([...new Set(read.map(({ schedule }) => schedule))]).toEqual(own);
        const [kept, ...lifted] = own;
        await liftOtherQuarantines(database.pool, scope, kept === undefined ? [] : [kept]);
        const { rows } = await database.pool.query<{ id: number }>(
          'select schedule::float8 as id from schedule_quarantines',
        );
        expect(idsOf(rows)).toEqual(idsOf(schedules.filter(({ id }) => !lifted.includes(id))));
      });
    });
  },
);
