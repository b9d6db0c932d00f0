import { ManualClock } from '@carillon/core/manual-clock.ts';
import type { FeedCursor, FeedPosition } from '@carillon/db/tables/schedule-feed.ts';
import { createLogger } from '@carillon/server';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { Engine } from './engine.ts';
import { ChangeFeed } from './feed.ts';
import { SchedulerMetrics } from './metrics.ts';
import type { SchedulerStore } from './scheduler-store.ts';
import { TimingCache } from './timing-cache.ts';

const LINEAGE = 'database/00000001';
const LOADED: FeedPosition = { snapshot: '10:10:', server: { lineage: LINEAGE, session: 'before' } };

test.each(['poll', 'compareAll'] as const)(
  'after a crash that no frontier survived nothing is read on from what is uncertain: %s',
  async (reading) => {
    const reasons: string[] = [];
    const cursors: string[] = [];
    const after = { lineage: LINEAGE, session: 'after' };
    const read = async (cursor: FeedCursor): Promise<FeedPosition> => {
      cursors.push(cursor(after));
      return { snapshot: '5:5:', server: after };
    };
    const fail = async (): Promise<never> => {
      throw new Error('this is not asked');
    };
    const store: SchedulerStore = {
      acquireLease: fail,
      renewLease: fail,
      releaseLease: fail,
      readLeases: fail,
      readTerms: fail,
      readAllSchedules: async (onWatermarks) => {
        onWatermarks({
          feedSnapshot: undefined,
          furthestMs: Number.NEGATIVE_INFINITY,
          frontiers: new Map(),
          laggards: new Map(),
        });
        return LOADED;
      },
      readOutdatedSchedules: (cursor) => read(cursor),
      readChangedSchedules: (cursor) => read(cursor),
      readMissedChanges: (cursor) => read(cursor),
      readGenerations: fail,
      lastLook: fail,
      flush: fail,
      findRefusedRows: fail,
      readQuarantinedTimes: fail,
      writeQuarantines: fail,
      liftQuarantines: fail,
      liftOtherQuarantines: fail,
    };
    const feed = new ChangeFeed(
      {
        store,
        engine: new Engine([], { writeOff: () => undefined }),
        timings: new TimingCache(),
        clock: new ManualClock(),
        metrics: new SchedulerMetrics(new Registry(), () => {
          throw new Error('nobody scrapes');
        }),
        logger: createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' }),
      },
      {
        belonging: { unitOf: () => 0, liveOf: () => [], quarantinedOf: () => [] },
        onUncertain: (reason) => reasons.push(reason),
        onApplying: () => undefined,
        onApplied: () => undefined,
      },
    );
    await feed.load();
    await expect(feed[reading]()).rejects.toThrow('what was read before is not certain any more');
    expect(reasons).toEqual(['the database may have crashed, and no frontier says what it has kept']);
    expect(cursors).toEqual([]);
  },
);
