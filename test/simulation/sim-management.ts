import type { Change, RedriveRequest } from './plan.ts';
import { refill } from './refill.ts';
import type { EndReason, ScheduleRows } from './schedule-rows.ts';
import { describeSpec, type SimSpec, specBytes } from './sim-spec.ts';
import type { World } from './world.ts';

/** How long one transaction waits before it looks again whether another is done with the name. */
const LOCK_POLL_MS = 1;
/** How soon somebody asks again whom the database could not be reached for. */
const USER_RETRY_MS = 500;

/**
 * The schedules service: writes rows, revisions and spans as `services/schedules` does, each change in a transaction that holds the
 * name, is committed late, or not at all.
 */
export class SimManagement {
  readonly #world: World;
  /** By name: the transaction that holds it. */
  readonly #locks = new Map<number, number>();
  /** By name: the newest incarnation. */
  readonly #newest = new Map<number, ScheduleRows>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Plans all changes and redrives. */
  start(): void {
    for (const change of this.#world.plan.changes) {
      this.#world.time.after(change.atMs, () => this.#begin(change));
    }
    for (const request of this.#world.plan.redrives) {
      this.#world.time.after(request.atMs, () => this.#redrive(request));
    }
  }

  /** Asks for redrives of the dead slots of a name, if there is a schedule of that name. */
  #redrive({ name, most }: RedriveRequest): void {
    const { database, time, conditions } = this.#world;
    if (conditions.databaseDown) {
      time.after(USER_RETRY_MS, () => this.#redrive({ atMs: time.nowMs, name, most }));
      return;
    }
    const rows = this.#newest.get(name);
    if (!rows || rows.newest.deleted) return;
    const count = database.redrives.request(rows, most, time.nowMs);
    if (count === 0) return;
    this.#world.tell(() => `${rows.identity} (id ${rows.id}): ${count} dead slots are to be redriven`);
    this.#world.redriven();
  }

  /** The newest schedule of a name; undefined: there is none that is not deleted. */
  scheduleOf(name: number): ScheduleRows | undefined {
    const rows = this.#newest.get(name);
    return rows?.newest.deleted ? undefined : rows;
  }

  /** Changes something about the schedule of a name that matters to nobody. */
  touch(name: number): void {
    const atMs = this.#world.time.nowMs;
    this.#begin({ atMs, name, kind: 'touch', spec: undefined, commitMs: 0, aborts: false });
  }

  /** The server has died, and has undone these transactions. */
  undone(xids: readonly number[]): void {
    for (const xid of xids) {
      for (const [name, holder] of this.#locks) if (holder === xid) this.#rollBack(name, xid);
    }
  }

  /** Keeps what is committed; the function brings it back. */
  copy(): () => void {
    const newest = [...this.#newest];
    return () => {
      this.#locks.clear();
      refill(this.#newest, newest);
    };
  }

  #begin(change: Change): void {
    const { database, time } = this.#world;
    if (this.#locks.has(change.name) || this.#world.conditions.databaseDown) {
      time.after(LOCK_POLL_MS, () => this.#begin(change));
      return;
    }
    const before = this.#newest.get(change.name);
    if (!isPossible(change, before)) return;
    const xid = database.transactions.begin();
    this.#locks.set(change.name, xid);
    const instantMs = Math.max(
      database.now(),
      ...(before?.spans.map((span) => span.end?.toMs ?? span.fromMs) ?? []),
    );
    const rows = change.kind === 'create' ? this.#create(change, before) : before!;
    write(rows, change, instantMs, xid, this.#newest.get(change.name) === rows ? undefined : before);
    const incarnation = this.#world.incarnation;
    time.after(change.commitMs, () => {
      if (this.#world.incarnation !== incarnation) return;
      if (change.aborts) {
        database.transactions.abort(xid);
        this.#rollBack(change.name, xid);
      } else this.#commit(change, rows, xid, instantMs);
    });
  }

  #create({ name }: Change, before: ScheduleRows | undefined): ScheduleRows {
    const rows = this.#world.newSchedule(name);
    if (before) rows.changes = before.changes;
    return rows;
  }

  #commit(change: Change, rows: ScheduleRows, xid: number, instantMs: number): void {
    const { database, time } = this.#world;
    database.transactions.commit(xid);
    const atDatabaseMs = database.highestMs;
    for (const span of rows.spans) {
      if (span.xid === xid) span.begunAtMs = time.nowMs;
      if (span.end?.xid === xid) {
        span.end.seenAtMs = time.nowMs;
        span.end.seenAtDatabaseMs = atDatabaseMs;
      }
    }
    rows.changes++;
    this.#newest.set(change.name, rows);
    this.#locks.delete(change.name);
    this.#world.tell(
      () =>
        `${rows.identity} (id ${rows.id}): ${change.kind} as of ${instantMs / 1000}${change.spec ? `: ${describeSpec(change.spec)}` : ''}`,
    );
    this.#world.changed();
  }

  #rollBack(name: number, xid: number): void {
    for (const rows of this.#world.database.schedules.values()) {
      rows.undo(xid);
      if (rows.versions.length === 0) this.#world.database.schedules.delete(rows.id);
    }
    this.#locks.delete(name);
  }
}

/** Whether the service would write anything. */
function isPossible({ kind }: Change, before: ScheduleRows | undefined): boolean {
  const exists = before !== undefined && !before.newest.deleted;
  if (kind === 'create') return !exists;
  if (!exists) return false;
  const open = before.open;
  if (kind === 'pause') return open?.state === 'ACTIVE';
  if (kind === 'unpause') return open?.state === 'PAUSED';
  if (kind === 'deactivate') return open !== undefined;
  if (kind === 'activate') return open?.revision !== before.revisions.length;
  return true;
}

function write(
  rows: ScheduleRows,
  change: Change,
  instantMs: number,
  xid: number,
  previous: ScheduleRows | undefined,
): void {
  const { open } = rows;
  const end = (reason: EndReason): void => {
    if (open) {
      open.end = { toMs: instantMs, reason, xid, seenAtMs: undefined, seenAtDatabaseMs: Number.NaN };
    }
  };
  const begin = (revision: number, state: 'ACTIVE' | 'PAUSED'): void => {
    rows.spans.push({
      span: rows.spans.length + 1,
      revision,
      state,
      fromMs: instantMs,
      xid,
      begunAtMs: undefined,
      end: undefined,
    });
  };
  const revise = (spec: SimSpec): number =>
    rows.revisions.push({
      spec,
      timing: Buffer.from(specBytes(spec)),
      isUnreadable: false,
      wasUnreadable: spec.pattern.kind === 'corrupt',
    });
  switch (change.kind) {
    case 'create':
      begin(revise(change.spec!), 'ACTIVE');
      break;
    case 'edit': {
      const revision = revise(change.spec!);
      if (open) {
        end('REVISED');
        begin(revision, open.state);
      }
      break;
    }
    case 'touch':
      break;
    case 'pause':
      end('PAUSED');
      begin(open!.revision, 'PAUSED');
      break;
    case 'unpause':
      end('UNPAUSED');
      begin(open!.revision, 'ACTIVE');
      break;
    case 'deactivate':
      end('DEACTIVATED');
      break;
    case 'activate':
      end('REVISED');
      begin(rows.revisions.length, open?.state ?? 'ACTIVE');
      break;
    case 'delete':
      end('DELETED');
      break;
  }
  const before = rows.versions.at(-1);
  const began = rows.spans.at(-1)?.xid === xid;
  rows.versions.push({
    xid,
    generation:
      (before ?? previous?.newest)?.generation === undefined
        ? 1
        : (before ?? previous!.newest).generation + 1,
    anchorMs: before?.anchorMs ?? (began ? Math.floor(instantMs / 1000) * 1000 : undefined),
    deleted: change.kind === 'delete',
  });
}
