import {
  type Assignment,
  hashAssignment,
  namedAssignment,
  olderLeases,
  SINGLE_SHARD,
} from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { createPool } from '../pool.ts';
import { SERVER_SESSION, type ServerSession } from '../server-session.ts';
import { useDatabase } from '../test/database.ts';
import { readAssignments, setAssignment } from './scheduler-assignments.ts';
import {
  acquireLease,
  deleteOldTerms,
  type LeaseClaim,
  type ObservedLease,
  readGap,
  readLeases,
  readLedShards,
  readTerms,
  releaseLease,
  renewLease,
} from './scheduler-leases.ts';
import { type Flush, type FlushResult, flushWatermarks, watermarkFormat } from './scheduler-watermarks.ts';

const TTL_MS = 60_000;
const ONE = hashAssignment(1, 1);
const TWO = hashAssignment(2, 2);
const database = useDatabase();
const pools: pg.Pool[] = [];
let server: ServerSession;

/** One connection, so that a transaction can be kept open over several calls. */
function connection(): pg.Pool {
  const pool = createPool({
    url: database.url,
    applicationName: 'leases-test',
    max: 1,
    onError: () => undefined,
  });
  pools.push(pool);
  return pool;
}

beforeEach(async () => {
  await database.pool.query(
    'truncate scheduler_leases, scheduler_terms, scheduler_assignments, scheduler_assignment_in_force, scheduler_frontiers, slot_ledger',
  );
  const { rows } = await database.pool.query<ServerSession>(`select ${SERVER_SESSION}`);
  server = rows[0]!;
});
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
});

function claimOf(
  assignment: Assignment,
  shard: string,
  owner: string,
  history: readonly Assignment[],
): LeaseClaim {
  const older = olderLeases(history, assignment, shard);
  return {
    shard,
    version: assignment.version,
    older,
    format: watermarkFormat(assignment),
    owner,
    ttlMs: TTL_MS,
  };
}

const single = (owner: string): LeaseClaim => claimOf(ONE, SINGLE_SHARD, owner, [ONE]);
const half = (owner: string, shard = 'hash-0'): LeaseClaim => claimOf(TWO, shard, owner, [ONE, TWO]);

function flushOf(epoch: number, number = 1): Flush {
  return {
    shard: SINGLE_SHARD,
    owner: 'blue',
    epoch,
    number,
    lineage: server.lineage,
    format: 1,
    strategy: 'hash',
    units: [7],
    throughMs: [number * 1_000],
    feedSnapshot: '10:10:',
    feedSession: server.session,
    laggards: [],
    caughtUp: [],
    ledger: [],
  };
}

async function frontierMs(): Promise<number | undefined> {
  const { rows } = await database.pool.query<{ ms: number }>(
    'select (extract(epoch from due_through) * 1000)::float8 as ms from scheduler_frontiers',
  );
  return rows[0]?.ms;
}

/** Lets a lease run out, as the database's clock says. */
async function expire(shard: string): Promise<void> {
  await database.pool.query(
    `update scheduler_leases set expire_time = clock_timestamp() - interval '1 second' where shard = $1`,
    [shard],
  );
}

/** Waits until so many statements on this database wait for a lock. */
async function waiting(count: number): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (rows[0]!.count >= count) return;
  }
}

/** Runs `first` in an open transaction, `second` until it waits for that, and then commits. */
async function inTurn<A, B>(first: (pool: pg.Pool) => Promise<A>, second: () => Promise<B>): Promise<[A, B]> {
  const pool = connection();
  await pool.query('begin');
  const before = await first(pool);
  const after = second();
  await Promise.race([waiting(1), after]);
  await pool.query('commit');
  return [before, await after];
}

describe('an assignment that is set', () => {
  test('waits for a grant in progress, which is seen afterwards', async () => {
    await setAssignment(database.pool, ONE);
    const order: string[] = [];
    const [grant] = await inTurn(
      async (pool) => await acquireLease(pool, single('blue'), []),
      async () => {
        await setAssignment(database.pool, TWO);
        order.push('set');
        expect(await acquireLease(database.pool, half('green'), [])).toBeUndefined();
      },
    );
    expect(grant).toMatchObject({ epoch: 1 });
    expect(order).toEqual(['set']);
  });

  test('leaves no grant under a lower version, not even one that has begun', async () => {
    await setAssignment(database.pool, ONE);
    const [, late] = await inTurn(
      async (pool) => await setAssignment(pool, TWO),
      () => acquireLease(database.pool, single('blue'), []),
    );
    expect(late).toBeUndefined();
    expect(await readLeases(database.pool, single('blue'))).toEqual([]);
  });

  test('is in force only if its version is the highest, and never changes', async () => {
    await setAssignment(database.pool, TWO);
    await setAssignment(database.pool, ONE);
    await setAssignment(database.pool, hashAssignment(2, 5));
    expect(await readAssignments(database.pool)).toEqual({ history: [TWO], inForce: 2 });
    const named = namedAssignment(5, 'project', [['shop', 'billing'], ['*']]);
    await setAssignment(database.pool, named);
    expect(await readAssignments(database.pool)).toEqual({ history: [TWO, named], inForce: 5 });
  });

  test('is one, whoever sets it at the same time', async () => {
    const set = Array.from({ length: 8 }, (_, index) => hashAssignment((index % 4) + 1, index + 1));
    await Promise.all(set.map((assignment) => setAssignment(database.pool, assignment)));
    const { history, inForce } = await readAssignments(database.pool);
    expect(inForce).toBe(4);
    expect(history.at(-1)?.version).toBe(4);
  });
});

describe('a grant under a new version', () => {
  beforeEach(async () => {
    await setAssignment(database.pool, ONE);
  });

  test('is refused while an older lease is held, and given when it is released', async () => {
    const blue = (await acquireLease(database.pool, single('blue'), []))!;
    await setAssignment(database.pool, TWO);
    expect(await acquireLease(database.pool, half('green'), [])).toBeUndefined();
    expect(await readLeases(database.pool, half('green'))).toEqual([
      { shard: 'default', owner: 'blue', epoch: 1, expireMs: blue.expireMs, isFree: false },
    ]);

    await releaseLease(database.pool, SINGLE_SHARD, 'blue', blue.epoch);
    const green = (await acquireLease(database.pool, half('green'), []))!;
    expect(green.expireMs).toBeGreaterThanOrEqual(blue.expireMs);
    expect(await acquireLease(database.pool, half('grey', 'hash-1'), [])).toMatchObject({ epoch: 1 });
    expect(await readLedShards(database.pool, 2)).toMatchObject([
      { shard: 'hash-0', owner: 'green' },
      { shard: 'hash-1', owner: 'grey' },
    ]);
    expect(
      (await readTerms(database.pool, { shard: 'hash-0', version: 2 }, green.epoch, TTL_MS)).map(
        ({ shard, version }) => [shard, version],
      ),
    ).toEqual([['default', 1]]);
  });

  test('ends no earlier than an older lease whose name was granted again meanwhile', async () => {
    const three = hashAssignment(3, 3);
    await setAssignment(database.pool, TWO);
    const blue = (await acquireLease(database.pool, half('blue'), []))!;
    await releaseLease(database.pool, 'hash-0', 'blue', blue.epoch);
    await setAssignment(database.pool, three);
    const claim = (shard: string): LeaseClaim => ({
      ...claimOf(three, shard, 'green', [ONE, TWO, three]),
      ttlMs: TTL_MS / 10,
    });
    const again = (await acquireLease(database.pool, claim('hash-0'), []))!;
    expect(again.expireMs).toBeGreaterThanOrEqual(blue.expireMs);
    const other = (await acquireLease(database.pool, claim('hash-2'), []))!;
    expect(other.expireMs).toBeGreaterThanOrEqual(blue.expireMs);
    // It is beside that one, and takes nothing from it.
    expect(await renewLease(database.pool, 'hash-0', 'green', again.epoch, TTL_MS)).toMatchObject({
      epoch: again.epoch,
    });
  });

  test('waits for an older lease that is being granted again, and ends no earlier', async () => {
    const three = hashAssignment(3, 3);
    await setAssignment(database.pool, TWO);
    const blue = (await acquireLease(database.pool, half('blue'), []))!;
    await releaseLease(database.pool, 'hash-0', 'blue', blue.epoch);
    await setAssignment(database.pool, three);
    const [again, other] = await inTurn(
      async (pool) => await acquireLease(pool, claimOf(three, 'hash-0', 'green', [ONE, TWO, three]), []),
      () =>
        acquireLease(
          database.pool,
          { ...claimOf(three, 'hash-2', 'grey', [ONE, TWO, three]), ttlMs: TTL_MS / 10 },
          [],
        ),
    );
    expect(other!.expireMs).toBeGreaterThanOrEqual(again!.expireMs);
  });

  test('fences an older lease that has run out: neither a renewal nor a flush of its holder comes through', async () => {
    const { epoch } = (await acquireLease(database.pool, single('blue'), []))!;
    await setAssignment(database.pool, TWO);
    await expire(SINGLE_SHARD);
    const [green, [renewed, flushed]] = await inTurn(
      async (pool) => await acquireLease(pool, half('green'), []),
      () =>
        Promise.all([
          renewLease(database.pool, SINGLE_SHARD, 'blue', epoch, TTL_MS),
          flushWatermarks(database.pool, flushOf(epoch)),
        ]),
    );
    expect(green).toMatchObject({ epoch: 1 });
    expect([renewed, flushed]).toEqual([undefined, 'FENCED' satisfies FlushResult]);
    expect(await frontierMs()).toBeUndefined();
  });

  test('finds an older lease held that is renewed late, but before it', async () => {
    const { epoch } = (await acquireLease(database.pool, single('blue'), []))!;
    await setAssignment(database.pool, TWO);
    await expire(SINGLE_SHARD);
    const [renewed, green] = await inTurn(
      async (pool) => await renewLease(pool, SINGLE_SHARD, 'blue', epoch, TTL_MS),
      () => acquireLease(database.pool, half('green'), []),
    );
    expect(renewed).toMatchObject({ epoch });
    expect(green).toBeUndefined();
  });

  test('comes after a flush that has begun before it', async () => {
    const { epoch } = (await acquireLease(database.pool, single('blue'), []))!;
    await setAssignment(database.pool, TWO);
    await expire(SINGLE_SHARD);
    const [flushed, green] = await inTurn(
      async (pool) => await flushWatermarks(pool, flushOf(epoch)),
      () => acquireLease(database.pool, half('green'), []),
    );
    expect(flushed).toBe('WRITTEN');
    expect(green).toMatchObject({ epoch: 1 });
    expect(await flushWatermarks(database.pool, flushOf(epoch, 2))).toBe('FENCED');
  });

  test('takes over what was seen unchanged for a whole ttl only if all of it was', async () => {
    await setAssignment(database.pool, TWO);
    const seen: ObservedLease[] = [];
    for (const shard of ['hash-0', 'hash-1']) {
      const { epoch, expireMs } = (await acquireLease(database.pool, half('blue', shard), []))!;
      seen.push({ shard, epoch, expireMs });
    }
    const three = hashAssignment(3, 1);
    await setAssignment(database.pool, three);
    const claim = claimOf(three, SINGLE_SHARD, 'green', [ONE, TWO, three]);
    expect(await acquireLease(database.pool, claim, seen.slice(1))).toBeUndefined();
    expect(await acquireLease(database.pool, claim, seen)).toMatchObject({ epoch: 1 });
    expect(await renewLease(database.pool, 'hash-1', 'blue', seen[1]!.epoch, TTL_MS)).toBeUndefined();
  });

  test('leaves older leases alone that have no unit of it', async () => {
    const byProject = namedAssignment(2, 'project', [['shop'], ['billing'], ['*']]);
    const later = namedAssignment(3, 'project', [['shop'], ['billing', 'research'], ['*']]);
    await setAssignment(database.pool, byProject);
    const history = [ONE, byProject, later];
    for (const { name } of byProject.shards)
      await acquireLease(database.pool, claimOf(byProject, name, 'blue', history), []);
    await setAssignment(database.pool, later);
    const claim = claimOf(later, 'project-billing', 'green', history);
    expect((await readLeases(database.pool, claim)).map(({ shard }) => shard).sort()).toEqual([
      'project-*',
      'project-billing',
    ]);
    await releaseLease(database.pool, 'project-*', 'blue', 1);
    await releaseLease(database.pool, 'project-billing', 'blue', 1);
    expect(await acquireLease(database.pool, claim, [])).toMatchObject({ epoch: 2 });
    expect(await renewLease(database.pool, 'project-shop', 'blue', 1, TTL_MS)).toMatchObject({ epoch: 1 });
  });

  test('marks the watermarks for programs that know of one shard only', async () => {
    const formats = async (): Promise<number[]> => {
      const { rows } = await database.pool.query<{ format: number }>(
        'select format from scheduler_frontiers',
      );
      return rows.map(({ format }) => format);
    };
    const { epoch } = (await acquireLease(database.pool, single('blue'), []))!;
    await flushWatermarks(database.pool, flushOf(epoch));
    await releaseLease(database.pool, SINGLE_SHARD, 'blue', epoch);
    await acquireLease(database.pool, single('blue'), []);
    expect(await formats()).toEqual([1]);
    await releaseLease(database.pool, SINGLE_SHARD, 'blue', epoch + 1);
    await setAssignment(database.pool, TWO);
    await acquireLease(database.pool, half('green'), []);
    expect(await formats()).toEqual([2]);
  });
});

describe('leases', () => {
  test('are granted to one of many, for the first time too', async () => {
    await setAssignment(database.pool, TWO);
    const grants = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((owner) => acquireLease(database.pool, half(owner), [])),
    );
    expect(grants.filter((grant) => grant !== undefined)).toHaveLength(1);
  });

  test('of version after version are contended for without a deadlock, and never held beside an older one', async () => {
    const history: Assignment[] = [];
    for (let version = 1; version <= 12; version++) {
      const assignment =
        version % 3 === 0
          ? namedAssignment(version, 'project', [['shop'], ['*']])
          : hashAssignment(version, 2 + (version % 3));
      history.push(assignment);
      await setAssignment(database.pool, assignment);
      const held: string[] = [];
      const contend = async (owner: string, shard: string): Promise<void> => {
        for (const attempt of [1, 2, 3]) {
          const grant = await acquireLease(
            database.pool,
            claimOf(assignment, shard, `${owner}${attempt}`, history),
            [],
          );
          if (!grant) continue;
          held.push(shard);
          await renewLease(database.pool, shard, `${owner}${attempt}`, grant.epoch, TTL_MS);
        }
      };
      await database.pool.query('update scheduler_leases set expire_time = clock_timestamp()');
      await Promise.all(
        ['a', 'b', 'c'].flatMap((owner) => assignment.shards.map(({ name }) => contend(owner, name))),
      );
      expect(held.sort()).toEqual(assignment.shards.map(({ name }) => name).sort());
      const { rows } = await database.pool.query<{ shard: string }>(
        'select shard from scheduler_leases where owner is not null and assignment_version < $1',
        [version],
      );
      expect(rows).toEqual([]);
    }
  });

  test('are written under by flushes in their order: one that comes late changes nothing', async () => {
    await setAssignment(database.pool, ONE);
    const { epoch } = (await acquireLease(database.pool, single('blue'), []))!;
    expect(await flushWatermarks(database.pool, flushOf(epoch, 2))).toBe('WRITTEN');
    expect(await flushWatermarks(database.pool, flushOf(epoch, 1))).toBe('FENCED');
    expect(await frontierMs()).toBe(2_000);
    await releaseLease(database.pool, SINGLE_SHARD, 'blue', epoch);
    // Each epoch numbers its own.
    await acquireLease(database.pool, single('blue'), []);
    expect(await flushWatermarks(database.pool, flushOf(epoch + 1, 1))).toBe('WRITTEN');
  });

  test('leave terms behind, which are deleted when no window reaches back to them, but for the last', async () => {
    await setAssignment(database.pool, ONE);
    for (const owner of ['blue', 'green', 'grey', 'white']) {
      const { epoch } = (await acquireLease(database.pool, single(owner), []))!;
      await releaseLease(database.pool, SINGLE_SHARD, owner, epoch);
    }
    const { pool } = database;
    const left = async (): Promise<number[]> =>
      (
        await pool.query<{ epoch: number }>('select epoch::int as epoch from scheduler_terms order by epoch')
      ).rows.map(({ epoch }) => epoch);
    const age = (through: number) =>
      pool.query(
        `update scheduler_terms set end_time = clock_timestamp() - interval '61 seconds' where epoch <= $1`,
        [through],
      );
    await age(2);
    expect(await deleteOldTerms(pool, TTL_MS)).toBe(2);
    expect(await left()).toEqual([3, 4]);
    await age(4);
    expect(await deleteOldTerms(pool, TTL_MS)).toBe(1);
    expect(await left()).toEqual([4]);
  });

  test('have a gap from the term before, whatever epochs lie between', async () => {
    await setAssignment(database.pool, ONE);
    const { epoch } = (await acquireLease(database.pool, single('blue'), []))!;
    await releaseLease(database.pool, SINGLE_SHARD, 'blue', epoch);
    await database.pool.query('update scheduler_leases set epoch = epoch + 3');
    const next = (await acquireLease(database.pool, single('green'), []))!;
    expect(next.epoch).toBe(epoch + 4);
    expect(await readGap(database.pool, SINGLE_SHARD, epoch)).toBeUndefined();
    expect(await readGap(database.pool, SINGLE_SHARD, next.epoch)).toBeGreaterThanOrEqual(0);
  });
});
