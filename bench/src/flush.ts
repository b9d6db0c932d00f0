import { createPool } from '@carillon/db';
import { SERVER_SESSION, type ServerSession } from '@carillon/db/server-session.ts';
import { type Flush, flushWatermarks } from '@carillon/db/tables/scheduler-watermarks.ts';
import { DatabaseServer } from '@carillon/test/support/database-server.ts';
import type pg from 'pg';
import { print, rate, rounded } from './print.ts';
import { quantile } from './quantile.ts';

/**
 * How long a flush takes by how many laggard rows it writes: all units' frontiers, and schedules with three settled ranges each above their
 * watermarks; as new rows, written again, and taken away. On a server of its own that syncs to disk.
 */
export async function run(args: readonly string[]): Promise<object> {
  const sizes = args.length > 0 ? args.map(Number) : [1_000, 10_000];
  if (sizes.some((size) => !(size >= 1))) throw new RangeError('usage: npm run bench -- flush [rows...]');
  const server = await DatabaseServer.start();
  const pool = createPool({ url: server.url, applicationName: 'bench', onError: console.error, max: 2 });
  try {
    return await measure(pool, sizes);
  } finally {
    await pool.end();
    await server.remove();
  }
}

const ROUNDS = 7;
const UNITS = 1024;

async function measure(pool: pg.Pool, sizes: readonly number[]): Promise<object> {
  const { rows: schedules } = await pool.query<{ id: number }>(
    `insert into schedules (uid, project, domain, schedule_id, generation, revision, hash_slot)
    select gen_random_uuid(), 'p', 'd', 's' || n, 1, 1, n % ${UNITS} from generate_series(1, $1::int) as n
    returning id::float8 as id`,
    [Math.max(...sizes)],
  );
  await pool.query(
    `insert into scheduler_leases (shard, owner, epoch, expire_time) values ('default', 'bench', 1, now() + interval '1 day')`,
  );
  const client = await pool.connect();
  const { rows } = await client.query<ServerSession>(`select ${SERVER_SESSION}`);
  const { lineage, session } = rows[0]!;
  let number = 0;
  const flush = async (changes: Partial<Flush>): Promise<number> => {
    const units = Array.from({ length: UNITS }, (_, unit) => unit);
    const throughMs = units.map(() => Date.now());
    const startedAtMs = performance.now();
    const result = await flushWatermarks(pool, {
      shard: 'default',
      owner: 'bench',
      epoch: 1,
      number: ++number,
      lineage,
      format: 1,
      strategy: 'hash',
      units,
      throughMs,
      feedSnapshot: '10:10:',
      feedSession: session,
      laggards: [],
      caughtUp: [],
      ledger: [],
      ...changes,
    });
    if (result !== 'WRITTEN') throw new Error(`a flush was ${result}`);
    return performance.now() - startedAtMs;
  };

  const figures: Record<string, object> = {};
  for (const size of sizes) {
    const ids = schedules.slice(0, size).map(({ id }) => id);
    const laggards = (): Flush['laggards'] => {
      const throughMs = Date.now() - 60_000;
      const settledAbove = [10, 20, 30].map((seconds) => ({
        after: throughMs + seconds * 1_000,
        through: throughMs + seconds * 1_000 + 999,
      }));
      return ids.map((schedule) => ({ schedule, throughMs, settledAbove }));
    };
    const times: Record<'inserted' | 'updated' | 'deleted', number[]> = {
      inserted: [],
      updated: [],
      deleted: [],
    };
    for (let round = 0; round < ROUNDS; round++) {
      times.inserted.push(await flush({ laggards: laggards() }));
      times.updated.push(await flush({ laggards: laggards() }));
      times.deleted.push(await flush({ caughtUp: ids }));
    }
    const at = (values: readonly number[]): string =>
      `${rounded(quantile(values, 0.5))} ms (max ${rounded(quantile(values, 1))})`;
    print(
      `${rate(size)} laggard rows: new, again, taken away`,
      `${at(times.inserted)}, ${at(times.updated)}, ${at(times.deleted)}`,
    );
    figures[size] = {
      insertedMs: rounded(quantile(times.inserted, 0.5)),
      updatedMs: rounded(quantile(times.updated, 0.5)),
      deletedMs: rounded(quantile(times.deleted, 0.5)),
    };
  }
  client.release();
  return figures;
}
