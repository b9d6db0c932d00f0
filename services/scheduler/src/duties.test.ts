import { ManualClock } from '@carillon/core/manual-clock.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { createLogger } from '@carillon/server';
import { describe, expect, test } from 'vitest';
import { BEAT_MS, Duties } from './duties.ts';

const database = useDatabase();

/** Lets everything go on that waits for no timer. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

/** Duties that count what they do; the flush is as slow as it is told to be. */
function dutiesOf(flush: () => Promise<void>) {
  const clock = new ManualClock(1_000_000);
  const done = { checks: 0, polls: 0, beats: 0, flushes: 0, follows: 0 };
  const checkedAtMs: number[] = [];
  const duties = new Duties({
    clock,
    logger: createLogger({ service: 'test', instance: 'test', level: 'silent' }),
    pool: database.pool,
    shards: {
      changed: () => done.polls++,
      redriven: () => undefined,
      recordPauses: () => undefined,
      reportCatchUp: () => undefined,
      compareAll: () => undefined,
      flush: () => {
        done.flushes++;
        return flush();
      },
      follow: async () => void done.follows++,
    },
    balancer: { balance: async () => undefined },
    clockWatch: {
      check: () => {
        done.checks++;
        checkedAtMs.push(clock.monotonic());
      },
    },
    replicas: { beat: async () => void done.beats++ },
    ledgerRetentionDays: 90,
  });
  const beats = async (count: number): Promise<void> => {
    for (let beat = 0; beat < count; beat++) {
      clock.advance(BEAT_MS);
      await settled();
    }
  };
  return { duties, done, checkedAtMs, beats };
}

describe('what is done each second', () => {
  test('does not wait for a flush that hangs', async () => {
    const { duties, done, checkedAtMs, beats } = dutiesOf(() => new Promise(() => undefined));
    duties.start();
    await beats(5);
    duties.stop();
    expect(done).toEqual({ checks: 5, polls: 5, beats: 5, flushes: 1, follows: 5 });
    // The watch takes a longer gap for a process that stood still.
    expect(checkedAtMs).toEqual([1, 2, 3, 4, 5].map((beat) => beat * BEAT_MS));
  });

  test('is done again after a failure, and ends when it is stopped', async () => {
    const { duties, done, beats } = dutiesOf(() => Promise.reject(new Error('no database')));
    duties.start();
    await beats(3);
    expect(done.flushes).toBe(3);
    duties.stop();
    await beats(3);
    expect(done).toEqual({ checks: 3, polls: 3, beats: 3, flushes: 3, follows: 3 });
  });
});

test('terms that no catch-up window reaches back to are deleted at the start', async () => {
  const { pool } = database;
  await pool.query(
    `insert into scheduler_terms (shard, epoch, owner, ready_time, end_time)
    select 'default', epoch, 'blue', at - interval '1 hour', at
    from (values (1, now() - interval '367 days'), (2, now() - interval '365 days'), (3, now())) as term (epoch, at)`,
  );
  const { duties } = dutiesOf(async () => undefined);
  duties.start();
  await expect
    .poll(
      async () => (await pool.query('select epoch::int as epoch from scheduler_terms order by epoch')).rows,
    )
    .toEqual([{ epoch: 2 }, { epoch: 3 }]);
  duties.stop();
});
