import { create } from '@bufbuild/protobuf';
import { useDatabase } from '@carillon/db/test/database.ts';
import { RunSpecSchema } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PARENT, type ServiceUnderTest, specOf, startSchedules } from './service-under-test.ts';

const database = useDatabase();
// Two replicas: what keeps writers apart is the database alone.
let first: ServiceUnderTest;
let second: ServiceUnderTest;
beforeAll(async () => {
  first = await startSchedules(database);
  second = await startSchedules(database);
});
afterAll(async () => {
  await first[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
});

function codeOf(outcome: PromiseSettledResult<unknown>): Code | 'OK' {
  if (outcome.status === 'fulfilled') return 'OK';
  if (outcome.reason instanceof ConnectError) return outcome.reason.code;
  throw outcome.reason;
}

function count<T>(items: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

const taskSpec = (task: string) => specOf({ run: create(RunSpecSchema, { task }) });

async function created(scheduleId: string): Promise<string> {
  const { schedule } = await first.client.createSchedule({
    parent: PARENT,
    scheduleId,
    schedule: { spec: specOf() },
  });
  return schedule!.name;
}

/** Small, seeded and good enough to choose by. */
function choices(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Holds of every history, however it came about. */
async function checkHistory(scheduleId: string): Promise<void> {
  const { rows: schedules } = await database.pool.query(
    `select id, generation, revision, delete_time is not null as deleted,
       (select count(*)::int from schedule_revisions r where r.schedule = s.id) as revisions
     from schedules s where schedule_id = $1 order by id`,
    [scheduleId],
  );
  let generation = 0n;
  for (const schedule of schedules) {
    expect(schedule.generation).toBeGreaterThan(generation);
    generation = schedule.generation;
    expect(schedule.revisions).toBe(schedule.revision);
    const { rows: spans } = await database.pool.query(
      `select span, to_time is null as open, from_time >= lag(to_time) over (order by span) as ordered, to_time >= from_time as forward
       from schedule_spans where schedule = $1 order by span`,
      [schedule.id],
    );
    expect(spans.map(({ span }) => span)).toEqual(spans.map((_, index) => index + 1));
    expect(spans.filter(({ open }) => open).length).toBeLessThanOrEqual(schedule.deleted ? 0 : 1);
    for (const { ordered, forward } of spans)
      expect([ordered ?? true, forward ?? true]).toEqual([true, true]);
  }
}

describe('concurrent writers', () => {
  it('leave one open span at most, and a whole history: twenty of them, each with its own mind', async () => {
    const name = await created('contended');
    const seed = Date.now() % 2 ** 31;
    console.log(`seed ${seed}`);
    const choose = choices(seed);
    // Looks beside the writers, so that no moment is seen with two open spans.
    const watcher = new pg.Client({ connectionString: database.url });
    await watcher.connect();
    let writing = true;
    let looks = 0;
    const watch = (async () => {
      while (writing) {
        const { rows } = await watcher.query(
          'select schedule from schedule_spans where to_time is null group by schedule having count(*) > 1',
        );
        expect(rows).toEqual([]);
        looks++;
      }
    })();
    const write = (writer: number, step: number) => {
      const { client } = writer % 2 === 0 ? first : second;
      const moves = [
        () => client.activateSchedule({ name, revision: choose(2) }),
        () => client.deactivateSchedule({ name }),
        () => client.pauseSchedule({ name, reason: `by ${writer}` }),
        () => client.unpauseSchedule({ name }),
        () => client.updateSchedule({ schedule: { name, spec: taskSpec(`t${writer}.${step}`) } }),
      ];
      return moves[choose(moves.length)]!();
    };
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, async (_, writer) => {
        const mine: PromiseSettledResult<unknown>[] = [];
        for (let step = 0; step < 10; step++) mine.push(...(await Promise.allSettled([write(writer, step)])));
        return mine;
      }),
    );
    writing = false;
    await watch;
    await watcher.end();
    const codes = count(outcomes.flat().map(codeOf));
    // Pausing what is not active is the only refusal there is.
    for (const code of codes.keys()) expect(['OK', Code.FailedPrecondition]).toContain(code);
    expect(looks).toBeGreaterThan(0);
    await checkHistory('contended');
  });

  it('with one etag: exactly one wins', async () => {
    const name = await created('raced');
    for (let round = 0; round < 5; round++) {
      const { etag } = (await first.client.getSchedule({ name })).schedule!;
      const outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, (_, writer) => {
          const { client } = writer % 2 === 0 ? first : second;
          return client.updateSchedule({ schedule: { name, etag, spec: taskSpec(`r${round}.w${writer}`) } });
        }),
      );
      expect(count(outcomes.map(codeOf))).toEqual(
        new Map<Code | 'OK', number>([
          ['OK', 1],
          [Code.Aborted, 9],
        ]),
      );
    }
    const { schedule } = await first.client.getSchedule({ name });
    expect(schedule).toMatchObject({ generation: 6n, revision: 6 });
    await checkHistory('raced');
  });

  it('of one new name: exactly one creates it', async () => {
    const request = { parent: PARENT, scheduleId: 'wanted', schedule: { spec: specOf() } };
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, writer) =>
        (writer % 2 === 0 ? first : second).client.createSchedule(request),
      ),
    );
    expect(count(outcomes.map(codeOf))).toEqual(
      new Map<Code | 'OK', number>([
        ['OK', 1],
        [Code.AlreadyExists, 9],
      ]),
    );
  });

  it('that update or delete: an update is before the deletion or finds nothing', async () => {
    for (let round = 0; round < 10; round++) {
      const name = await created(`doomed-${round}`);
      const [deleted, ...updated] = await Promise.allSettled([
        first.client.deleteSchedule({ name }),
        ...Array.from({ length: 4 }, (_, writer) =>
          second.client.updateSchedule({ schedule: { name, spec: taskSpec(`w${writer}`) } }),
        ),
      ]);
      expect(codeOf(deleted!)).toBe('OK');
      const codes = updated.map(codeOf);
      for (const code of codes) expect(['OK', Code.NotFound]).toContain(code);
      const { rows } = await database.pool.query(
        'select generation, revision, delete_time is not null as deleted from schedules where schedule_id = $1',
        [`doomed-${round}`],
      );
      const successes = codes.filter((code) => code === 'OK').length;
      expect(rows).toEqual([{ generation: BigInt(2 + successes), revision: 1 + successes, deleted: true }]);
      await checkHistory(`doomed-${round}`);
    }
  });

  it('that create and delete one name over and over: its generations never restart', async () => {
    const name = `${PARENT}/schedules/phoenix`;
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        const { client } = writer % 2 === 0 ? first : second;
        for (let step = 0; step < 10; step++) {
          const call =
            (writer + step) % 2 === 0
              ? client.updateSchedule({
                  schedule: { name, spec: taskSpec(`t${writer}.${step}`) },
                  allowMissing: true,
                })
              : client.deleteSchedule({ name, allowMissing: true });
          await call;
        }
      }),
    );
    const { rows } = await database.pool.query(
      `select count(*)::int as n from schedules where schedule_id = 'phoenix'`,
    );
    expect(rows[0].n).toBeGreaterThan(1);
    await checkHistory('phoenix');
  });

  it('are announced', async () => {
    const listener = new pg.Client({ connectionString: database.url });
    await listener.connect();
    try {
      await listener.query('listen carillon_schedules');
      const announced = new Promise<string>((resolve) => {
        listener.on('notification', ({ channel }) => resolve(channel));
      });
      await created('announced');
      expect(await announced).toBe('carillon_schedules');
    } finally {
      await listener.end();
    }
  });
});
