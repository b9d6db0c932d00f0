import type { GenerationRow } from '@carillon/db/tables/schedule-feed.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { reportDatabaseChange } from './database-change.ts';
import { engineAt, record } from './engine-under-test.ts';
import type { Lease } from './leadership.ts';
import { SchedulerMetrics } from './metrics.ts';

const BEFORE = 'one/00000001';

/** How many changes a report counts as lost, of three schedules that a term knew, given what the database has now. */
async function lost(rows: readonly GenerationRow[], lineage: string): Promise<number> {
  const { engine } = engineAt();
  for (const id of [1, 2, 3]) engine.apply(record({ id, uidBits: id * 11, generation: 4 }));
  const metrics = new SchedulerMetrics(new Registry(), () => {
    throw new Error('nobody scrapes');
  });
  const server = { lineage, session: '1' };
  await reportDatabaseChange(
    {
      metrics,
      logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
      store: {
        readGenerations: async (wanted, onPage) => {
          if (wanted(server)) await onPage(rows);
          return { snapshot: '1:1:', server };
        },
      },
    },
    { engine, lease: leaseOf(BEFORE) },
  );
  return (await metrics.lostChanges.get()).values[0]?.value ?? 0;
}

function leaseOf(lineage: string): Lease {
  return {
    epoch: 1,
    lineage,
    isOtherDatabase: false,
    grantedAtMs: 0,
    firstExpireMs: 0,
    expireMs: 0,
    trusted: true,
    signal: new AbortController().signal,
  };
}

const all = [1, 2, 3].map((id): GenerationRow => ({ id, uidBits: id * 11, generation: 4 }));

test('a database that has all that was read has lost nothing', async () => {
  expect(await lost(all, 'one/00000002')).toBe(0);
});

test('what is missing, what is older, and what is another under the same id was lost', async () => {
  expect(await lost(all.slice(1), 'one/00000002')).toBe(1);
  expect(await lost([...all.slice(1), { ...all[0]!, generation: 3 }], 'one/00000002')).toBe(1);
  expect(await lost([...all.slice(1), { ...all[0]!, uidBits: 7, generation: 9 }], 'one/00000002')).toBe(1);
});

test('the same database is not looked at', async () => {
  expect(await lost([], BEFORE)).toBe(0);
});
