import { type Assignment, olderLeases } from '@carillon/core/assignment.ts';
import { SqlState } from '@carillon/db';
import type { ServerSession } from '@carillon/db/server-session.ts';
import type { FeedRow } from '@carillon/db/tables/schedule-feed.ts';
import type { LeaseClaim } from '@carillon/db/tables/scheduler-leases.ts';
import { type Flush, watermarkFormat } from '@carillon/db/tables/scheduler-watermarks.ts';
import type { SchedulerStore } from '@carillon/scheduler/scheduler-store.ts';
import { scopeFor } from './shard-scopes.ts';
import type { SimConnection } from './sim-connection.ts';
import type { World } from './world.ts';

/** A shard as one process contends for it. */
export interface SimShard {
  readonly assignment: Assignment;
  readonly history: readonly Assignment[];
  readonly shard: string;
  readonly owner: string;
}

/** The way of a shard's scheduler to what it plans and settles by. */
export function createSimStore(
  world: World,
  connection: SimConnection,
  { assignment, history, shard, owner }: SimShard,
): SchedulerStore {
  const { database } = world;
  const { transactions, leases, quarantines } = database;
  const { version } = assignment;
  const scope = scopeFor(assignment, shard);
  const { leaseTtlMs, pageRows } = world.plan.settings;

  /** Of the database that granted the last lease. */
  let lineage: string | undefined;

  const claim: LeaseClaim = {
    shard,
    version,
    older: olderLeases(history, assignment, shard),
    format: watermarkFormat(assignment),
    owner,
    ttlMs: leaseTtlMs,
  };

  const isOwn = (id: number): boolean => {
    const schedule = database.schedules.get(id);
    return schedule !== undefined && database.isIn(scope, schedule);
  };

  async function pages(
    rows: readonly FeedRow[],
    begunIn: number,
    onPage: (rows: readonly FeedRow[]) => Promise<void>,
  ): Promise<void> {
    for (let first = 0; ; first += pageRows) {
      const page = await connection.feedRead('fetch', () => rows.slice(first, first + pageRows), begunIn);
      await onPage(page);
      if (page.length < pageRows) return;
    }
  }

  /** As every other statement, a read of the feed finds one incarnation of the server, and has a session of it. */
  function server(): ServerSession & { readonly incarnation: number } {
    const { incarnation } = world;
    return { lineage: leases.lineage, session: `${incarnation} ${owner}`, incarnation };
  }

  /** The schedules of a flush whose rows the database refuses at the moment. */
  function refusedOf({ ledger, laggards }: Flush): number[] {
    return [...world.conditions.refused].filter(
      (id) =>
        ledger.some(({ schedule }) => schedule === id) ||
        laggards.some(({ schedule, settledAbove }) => schedule === id && settledAbove.length > 0),
    );
  }

  return {
    acquireLease: (stale) =>
      connection.statement('acquire', () => {
        const grant = leases.acquire(claim, stale);
        if (grant) lineage = grant.lineage;
        if (grant)
          world.tell(
            () =>
              `${owner} is granted ${shard} of version ${version}, epoch ${grant.epoch}${stale.length > 0 ? ' (the old one seemed dead)' : ''}`,
          );
        return grant;
      }),
    renewLease: (epoch) =>
      connection.statement('renew', () => leases.renew({ shard, owner, epoch }, leaseTtlMs)),
    releaseLease: (epoch) =>
      connection.statement('release', () => {
        const released = leases.release({ shard, owner, epoch });
        if (released) world.released();
        return released;
      }),
    readLeases: () => connection.statement('read leases', () => leases.read(claim)),
    readTerms: (epoch) => connection.statement('read terms', () => leases.readTerms(shard, version, epoch)),

    async readAllSchedules(onWatermarks, onPage) {
      const { snapshot, answerer, watermarks, rows } = await connection.feedRead('read everything', () => {
        const current = transactions.snapshot();
        return {
          snapshot: current,
          answerer: server(),
          watermarks: database.readWatermarks(scope),
          rows: database.everythingIn(current, scope),
        };
      });
      onWatermarks(watermarks);
      await pages(rows, answerer.incarnation, onPage);
      return { snapshot: snapshot.text, server: answerer };
    },

    async readOutdatedSchedules(cursor, overtaken, onOutdated, onPage) {
      // Everything that one snapshot sees, of which the reader then says what it wants.
      const { snapshot, answerer, watermarks, rows } = await connection.feedRead('begin', () => {
        const current = transactions.snapshot();
        return {
          snapshot: current,
          answerer: server(),
          watermarks: database.readWatermarks(scope),
          rows: database.everythingIn(current, scope),
        };
      });
      const since = transactions.parse(cursor(answerer));
      const changed = await connection.feedRead(
        'read outdated',
        () => database.changedIn(snapshot, since, scope),
        answerer.incarnation,
      );
      const outdated = new Set([...overtaken(watermarks), ...watermarks.laggards.keys(), ...changed]);
      onOutdated(outdated);
      await pages(
        rows.filter(({ id }) => outdated.has(id)),
        answerer.incarnation,
        onPage,
      );
      return { snapshot: snapshot.text, server: answerer };
    },

    async readChangedSchedules(cursor, unsettledSinceMs, onPage) {
      const { snapshot, answerer } = await connection.feedRead('begin', () => ({
        snapshot: transactions.snapshot(),
        answerer: server(),
      }));
      const since = transactions.parse(cursor(answerer));
      const begunIn = answerer.incarnation;
      const ids = await connection.feedRead(
        'read changes',
        () => database.changedIn(snapshot, since, scope),
        begunIn,
      );
      for (let first = 0; first < ids.length; first += pageRows) {
        const asked = ids
          .slice(first, first + pageRows)
          .map((id) => ({ id, unsettledSinceMs: unsettledSinceMs(id) }));
        await onPage(
          await connection.feedRead(
            'read changed',
            () => database.schedulesIn(snapshot, since, asked),
            begunIn,
          ),
        );
      }
      return { snapshot: snapshot.text, server: answerer };
    },

    async readMissedChanges(cursor, differs, unsettledSinceMs, onPage) {
      const { snapshot, answerer } = await connection.feedRead('begin', () => ({
        snapshot: transactions.snapshot(),
        answerer: server(),
      }));
      const since = transactions.parse(cursor(answerer));
      const begunIn = answerer.incarnation;
      const generations = await connection.feedRead(
        'compare',
        () => database.generationsIn(snapshot, since, scope),
        begunIn,
      );
      const different = generations.filter(({ id, generation }) => differs(id, generation));
      if (different.length > 0) {
        world.violated(
          `the feed had missed changes of schedules ${different.map(({ id }) => id).join(', ')}`,
        );
        const asked = different.map(({ id }) => ({ id, unsettledSinceMs: unsettledSinceMs(id) }));
        await onPage(
          await connection.feedRead(
            'read missed',
            () => database.schedulesIn(snapshot, undefined, asked),
            begunIn,
          ),
        );
      }
      return { snapshot: snapshot.text, server: answerer };
    },

    // No standby is promoted here.
    readGenerations: () =>
      connection.feedRead('begin', () => ({ snapshot: transactions.snapshot().text, server: server() })),

    async lastLook(slots) {
      const { looks, answerer, atMs } = await connection.statement('last look', () => ({
        looks: database.lastLook(slots),
        answerer: leases.lineage,
        atMs: world.time.nowMs,
      }));
      if (answerer !== lineage) throw new Error('the lease was granted by another database');
      for (const { schedule, nominalMs } of slots) world.lookedAt(owner, schedule, nominalMs, atMs);
      return looks;
    },
    async flush(flush) {
      const written = await connection.statement('flush', () => {
        if (refusedOf(flush).length > 0) return 'REFUSED';
        const result = database.flush(flush, world.incarnation);
        if (result !== 'WRITTEN')
          world.tell(
            () => `a flush of ${flush.owner} for ${flush.shard} under epoch ${flush.epoch} is ${result}`,
          );
        return result;
      });
      if (written === 'REFUSED')
        throw Object.assign(new Error('a row is refused'), {
          severity: 'ERROR',
          code: SqlState.checkViolation,
        });
      return written;
    },
    findRefusedRows: (flush) =>
      connection.statement('find refused rows', () =>
        refusedOf(flush).map((schedule) => ({
          schedule,
          reason: 'a row is refused',
          ...database.storedOf(schedule),
        })),
      ),
    writeQuarantines: (rows) => connection.statement('write quarantines', () => quarantines.write(rows)),
    liftQuarantines: (schedules) =>
      connection.statement('lift quarantines', () => quarantines.lift(schedules)),
    liftOtherQuarantines: (schedules) =>
      connection.statement('lift other quarantines', () => quarantines.liftOthers(schedules, isOwn)),
    readQuarantinedTimes: () =>
      connection.statement('read quarantined times', () => quarantines.times(isOwn)),
  };
}
