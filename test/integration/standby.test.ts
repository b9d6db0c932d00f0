import { hashAssignment, SINGLE_SHARD } from '@carillon/core/assignment.ts';
import { createPool } from '@carillon/db';
import { setAssignment } from '@carillon/db/tables/scheduler-assignments.ts';
import { useDatabase } from '@carillon/db/test/database.ts';
import { OverlapPolicy } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { CatchUpPolicy } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import { DatabaseClock } from '@carillon/scheduler/database-clock.ts';
import { Ledger } from '@carillon/scheduler/ledger.ts';
import { SchedulerMetrics } from '@carillon/scheduler/metrics.ts';
import { createPostgresStore } from '@carillon/scheduler/postgres-store.ts';
import { Refusals } from '@carillon/scheduler/refusals.ts';
import type { SchedulerStore } from '@carillon/scheduler/scheduler-store.ts';
import type { Outstanding } from '@carillon/scheduler/slot.ts';
import { type Loaded, Standby } from '@carillon/scheduler/standby.ts';
import { TimingCache } from '@carillon/scheduler/timing-cache.ts';
import { Watermarks } from '@carillon/scheduler/watermarks.ts';
import { createLogger, systemClock } from '@carillon/server';
import { Code, ConnectError } from '@connectrpc/connect';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { startSchedules } from '../support/services.ts';

const database = useDatabase();
const parent = 'projects/standby/domains/test';
const assignment = hashAssignment(1, 1);
const logger = createLogger({ service: 'scheduler', instance: 'test', level: 'fatal' });
const metrics = new SchedulerMetrics(new Registry(), () => {
  throw new Error('nobody asks for the gauges');
});

/** The database's clock as the test has it: ahead of the real one, so that hours pass in a second. */
class SetClock extends DatabaseClock {
  nowMs = Date.now();

  override now(): number {
    return this.nowMs;
  }
}

/** Small numbers that are the same each time: mulberry32. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

test.each([1, 2, 3, 4, 5])(
  'what a standby knows at a take-over is what a load finds: %i',
  { timeout: 60_000 },
  async (seed) => {
    const random = numbers(seed);
    const clock = new SetClock(systemClock);
    await using schedules = await startSchedules(database.url);
    const pool = createPool({ url: database.url, applicationName: 'test', onError: () => undefined, max: 4 });
    try {
      const store = createPostgresStore({
        pool,
        feedPool: pool,
        assignment,
        history: [assignment],
        shard: SINGLE_SHARD,
        owner: 'test',
        leaseTtlMs: 600_000,
      });
      await setAssignment(pool, assignment);
      const lease = (await store.acquireLease([]))!;
      const always = [{ after: Number.NEGATIVE_INFINITY, through: Number.POSITIVE_INFINITY }];
      const belonging = {
        unitOf: ({ hashSlot }: { hashSlot: number }) => hashSlot,
        liveOf: () => always,
        quarantinedOf: () => [],
      };
      let isFlaky = true;
      // Some reads fail after what they are to read anew was forgotten.
      const flaky: SchedulerStore = {
        ...store,
        readOutdatedSchedules: (cursor, overtaken, onOutdated, onPage) =>
          store.readOutdatedSchedules(
            cursor,
            overtaken,
            (ids) => {
              onOutdated(ids);
              if (isFlaky && random(3) === 0) throw new Error('the connection broke');
            },
            onPage,
          ),
      };
      const standing = (): Standby =>
        new Standby({
          store: flaky,
          clock: { ...systemClock, monotonic: () => clock.nowMs },
          databaseClock: clock,
          logger,
          metrics,
          timings: new TimingCache(),
          assignment,
          shard: SINGLE_SHARD,
        });
      const leader = await standing().takeOver(belonging, lease.lineage);
      const outstanding: Outstanding[] = [];
      leader.engine.serve({ writeOff: (writeOff) => outstanding.push(writeOff) });
      const ledger = new Ledger();
      const watermarks = new Watermarks({
        store,
        engine: leader.engine,
        ledger,
        refusals: new Refusals({
          store,
          engine: leader.engine,
          ledger,
          quarantines: leader.feed.quarantines,
          metrics,
          logger,
        }),
        clock: { ...systemClock, monotonic: () => clock.nowMs },
        databaseClock: clock,
        metrics,
        logger,
        shard: SINGLE_SHARD,
        owner: 'test',
        epoch: lease.epoch,
        lineage: lease.lineage,
        strategy: 'hash',
        format: 1,
        advance: () => leader.engine.advance(clock.nowMs),
        feedPosition: () => leader.feed.position,
        onFlushed: (snapshot) => leader.feed.committed(snapshot),
        onFenced: () => expect.unreachable('nobody else leads'),
        onUnproven: () => expect.unreachable('the database has not crashed'),
        readAgain: () => leader.feed.poll(),
      });
      const standby = standing();
      const names: string[] = [];
      for (let step = 0; step < 60; step++) {
        await change(schedules.client, names, random, `s${seed}-${names.length}`);
        if (random(2) === 0) await leader.feed.poll();
        clock.nowMs += random(15_000);
        leader.engine.advance(clock.nowMs);
        outstanding.push(...leader.engine.take(1_000, 1_000, 1e9, clock.nowMs));
        // Some are settled late, so that their schedules lag.
        for (const item of outstanding.splice(0)) {
          if (!leader.engine.isOutstanding(item)) continue;
          if (random(5) === 0) outstanding.push(item);
          else leader.engine.settle(item);
        }
        await watermarks.flush();
        if (random(3) > 0) {
          await standby.prepare().catch((error: unknown) => {
            if (!(error instanceof Error) || error.message !== 'the connection broke') throw error;
          });
        }
      }
      isFlaky = false;
      const warm = await standby.takeOver(belonging, lease.lineage);
      const cold = await standing().takeOver(belonging, lease.lineage);
      const throughMs = clock.nowMs + 120_000;
      const expected = toDo(cold, throughMs);
      expect(expected.length).toBeGreaterThan(100);
      expect(toDo(warm, throughMs)).toEqual(expected);
      expect(warm.engine.outstandingSize).toBe(0);
      const { frontierMs, units } = cold.engine.checkpoints.next(throughMs, 'EVERY_UNIT');
      expect(warm.engine.checkpoints.next(throughMs, 'EVERY_UNIT')).toMatchObject({ frontierMs, units });
    } finally {
      await pool.end();
    }
  },
);

/** Creates, edits or stops a schedule. */
async function change(
  client: Awaited<ReturnType<typeof startSchedules>>['client'],
  names: string[],
  random: (below: number) => number,
  scheduleId: string,
): Promise<void> {
  const schedule = {
    spec: {
      pattern: { case: 'rate', value: { interval: { seconds: BigInt(1 + random(20)) } } },
      jitter: { seconds: BigInt(random(3)) },
      catchUp: { policy: [CatchUpPolicy.ALL, CatchUpPolicy.LATEST, CatchUpPolicy.NONE][random(3)]! },
      overlap: { policy: [OverlapPolicy.ALLOW, OverlapPolicy.SKIP][random(2)]! },
      run: { task: 'test.standby' },
    },
  } as const;
  const name = names[random(names.length || 1)];
  const kind = name === undefined ? 0 : random(8);
  if (kind <= 2 || name === undefined) {
    const created = await client.createSchedule({ parent, scheduleId, schedule });
    names.push(created.schedule!.name);
  } else if (kind === 3)
    await client.updateSchedule({ schedule: { name, ...schedule }, updateMask: { paths: ['spec'] } });
  else {
    const stopOrGo = [
      () => client.pauseSchedule({ name, reason: 'a test' }),
      () => client.unpauseSchedule({ name }),
      () => client.deactivateSchedule({ name }),
      () => client.activateSchedule({ name }),
    ][kind - 4]!;
    await stopOrGo().catch((error: unknown) => {
      // It is in no state for that.
      if (!(error instanceof ConnectError) || error.code !== Code.FailedPrecondition) throw error;
    });
  }
}

/** What an engine would have done until `throughMs`, if all that it hands out were settled at once. */
function toDo({ engine, writeOffs }: Loaded, throughMs: number): string[] {
  const waiting = [...writeOffs];
  engine.serve({ writeOff: (writeOff) => waiting.push(writeOff) });
  const done: string[] = [];
  while (engine.advance(throughMs));
  for (;;) {
    const slots = engine.take(1_000, 1_000, 1e9, throughMs);
    for (const slot of slots) {
      done.push(
        `${slot.id} revision ${slot.revision} at ${slot.nominalSec} ${slot.live ? 'live' : 'missed'}`,
      );
      engine.settle(slot);
    }
    const written = waiting.splice(0);
    for (const writeOff of written) {
      const { id, revision, nominalSec, lastNominalSec, dueMs, lastDueMs, verdict } = writeOff;
      done.push(
        `${id} revision ${revision} from ${nominalSec} to ${lastNominalSec}, ${dueMs} to ${lastDueMs} ${verdict.reason}`,
      );
      engine.settle(writeOff);
    }
    if (slots.length === 0 && written.length === 0) return done.sort();
  }
}
