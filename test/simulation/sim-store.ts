import type { FeedRow } from '@carillon/db/tables/schedule-feed.ts';
import type { SchedulerStore } from '@carillon/scheduler/scheduler-store.ts';
import { type Caller, never, type World } from './world.ts';

/** The database could not be reached, or nobody knows whether it was. */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError';
}

/** How long a read of the feed may take beside how long other statements may. */
const FEED_READS_LONGER = 3;

/** The scheduler's way to the database: calls are delayed and lost, answers too, and the process may crash in each of them. */
export function createSimStore(world: World, caller: Caller, owner: string): SchedulerStore {
  const { database, plan, conditions } = world;
  const { transactions } = database;
  const { leaseTtlMs, leaseMarginMs, pageRows, lostAnswers } = plan.settings;
  const limitMs = leaseTtlMs - leaseMarginMs;
  const { process, random } = caller;

  function call<T>(name: string, carryOut: () => T, timeoutMs = limitMs): Promise<T> {
    const crash = caller.calls.next();
    if (crash === 'before') caller.crash();
    if (!process.alive) return never();
    return new Promise((resolve, reject) => {
      const fail = (message: string): void => reject(new DatabaseAwayError(message));
      const timer = process.after(timeoutMs, () => fail(`${name} took longer than ${timeoutMs} ms`));
      const answer = (settle: () => void): void => {
        timer.cancel();
        settle();
      };
      if (conditions.databaseCut.has(caller.replica)) return;
      const incarnation = world.incarnation;
      // What is on its way goes on when its sender is dead.
      world.time.after(world.latencyMs(random), () => {
        if (conditions.databaseDown) {
          world.time.after(0.1, () => answer(() => fail('the connection was refused')), process);
          return;
        }
        if (world.incarnation !== incarnation) {
          world.time.after(0.1, () => answer(() => fail('the connection was closed')), process);
          return;
        }
        const result = carryOut();
        if (crash === 'carried-out') caller.crash();
        if (conditions.databaseCut.has(caller.replica) || world.happens(lostAnswers, random)) return;
        world.time.after(
          world.latencyMs(random),
          () => {
            if (crash === 'answered') caller.crash();
            if (process.alive) answer(() => resolve(result));
          },
          process,
        );
      });
    });
  }

  const feedCall = <T>(name: string, carryOut: () => T): Promise<T> =>
    call(name, carryOut, limitMs * FEED_READS_LONGER);

  async function pages(
    rows: readonly FeedRow[],
    onPage: (rows: readonly FeedRow[]) => Promise<void>,
  ): Promise<void> {
    for (let first = 0; ; first += pageRows) {
      const page = await feedCall('fetch', () => rows.slice(first, first + pageRows));
      await onPage(page);
      if (page.length < pageRows) return;
    }
  }

  return {
    acquireLease: (stale) =>
      call('acquire', () => {
        const grant = database.acquireLease(owner, leaseTtlMs, stale);
        if (grant)
          world.tell(
            () => `${owner} is granted epoch ${grant.epoch}${stale ? ' (the old one seemed dead)' : ''}`,
          );
        return grant;
      }),
    renewLease: (epoch) => call('renew', () => database.renewLease(owner, epoch, leaseTtlMs)),
    releaseLease: (epoch) =>
      call('release', () => {
        const released = database.releaseLease(owner, epoch);
        if (released) world.released();
        return released;
      }),
    readLease: () => call('read lease', () => database.readLease()),
    readTerms: (epoch) => call('read terms', () => database.readTerms(epoch)),

    async readAllSchedules(onWatermarks, onPage) {
      const { snapshot, watermarks, rows } = await feedCall('read everything', () => {
        const current = transactions.snapshot();
        return {
          snapshot: current,
          watermarks: database.readWatermarks(),
          rows: database.everythingIn(current),
        };
      });
      onWatermarks(watermarks);
      await pages(rows, onPage);
      return snapshot.text;
    },

    async readChangedSchedules(since, unsettledSinceMs, onPage) {
      const sinceSnapshot = transactions.parse(since);
      const { snapshot, ids } = await feedCall('read changes', () => {
        const current = transactions.snapshot();
        return { snapshot: current, ids: database.changedIn(current, sinceSnapshot) };
      });
      for (let first = 0; first < ids.length; first += pageRows) {
        const asked = ids
          .slice(first, first + pageRows)
          .map((id) => ({ id, unsettledSinceMs: unsettledSinceMs(id) }));
        await onPage(
          await feedCall('read changed', () => database.schedulesIn(snapshot, sinceSnapshot, asked)),
        );
      }
      return snapshot.text;
    },

    async readMissedChanges(since, differs, unsettledSinceMs, onPage) {
      const sinceSnapshot = transactions.parse(since);
      const { snapshot, generations } = await feedCall('compare', () => {
        const current = transactions.snapshot();
        return { snapshot: current, generations: database.generationsIn(current, sinceSnapshot) };
      });
      const different = generations.filter(({ id, generation }) => differs(id, generation));
      if (different.length > 0) {
        world.violated(
          `the feed had missed changes of schedules ${different.map(({ id }) => id).join(', ')}`,
        );
        const asked = different.map(({ id }) => ({ id, unsettledSinceMs: unsettledSinceMs(id) }));
        await onPage(await feedCall('read missed', () => database.schedulesIn(snapshot, undefined, asked)));
      }
      return snapshot.text;
    },

    async lastLook(slots) {
      const { looks, atMs } = await call('last look', () => ({
        looks: database.lastLook(slots),
        atMs: world.time.nowMs,
      }));
      for (const { schedule, nominalMs } of slots) world.lookedAt(owner, schedule, nominalMs, atMs);
      return looks;
    },
    flush: (flush) =>
      call('flush', () => {
        const written = database.flush(flush);
        if (!written) world.tell(() => `a flush of ${flush.owner} under epoch ${flush.epoch} is refused`);
        return written;
      }),
    writeQuarantines: () => call('write quarantines', () => undefined),
    liftQuarantines: () => call('lift quarantines', () => undefined),
    liftOtherQuarantines: () => call('lift other quarantines', () => undefined),
  };
}
