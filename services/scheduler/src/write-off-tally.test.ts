import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { SchedulerMetrics } from './metrics.ts';
import { nominalTimesOf, type WriteOff } from './slot.ts';
import { UNREADABLE } from './verdicts.ts';
import { WriteOffTally } from './write-off-tally.ts';

test('slots of a revision that cannot be read are told of as a stretch of time, and as one when they are counted', async () => {
  const writeOff: WriteOff = {
    kind: 'write-off',
    span: 1,
    schedule: 0,
    id: 7,
    revision: 3,
    timing: undefined,
    nominalSec: 10,
    lastNominalSec: 20,
    dueMs: 10_000,
    lastDueMs: 25_000,
    verdict: UNREADABLE,
    notAfterMs: 0,
    sentThroughMs: Number.NEGATIVE_INFINITY,
  };
  expect([...nominalTimesOf(writeOff)]).toEqual([]);
  const tally = new WriteOffTally(writeOff);
  expect(tally.unfired).toMatchObject([
    {
      schedule: 7,
      revision: 3,
      nominalMs: 10_000,
      lastNominalMs: 20_000,
      slots: 0,
      outcome: 'MISSED',
      reason: 'UNREADABLE',
    },
  ]);
  const metrics = new SchedulerMetrics(new Registry(), () => {
    throw new Error('nobody scrapes');
  });
  tally.count(metrics);
  expect((await metrics.writtenOff.get()).values).toContainEqual(
    expect.objectContaining({ value: 1, labels: { outcome: 'MISSED', reason: 'UNREADABLE' } }),
  );
});
