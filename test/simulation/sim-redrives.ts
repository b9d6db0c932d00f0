import type { ShardScope } from '@carillon/core/assignment.ts';
import type { Redrive, RedriveKey, SettledRedrive } from '@carillon/db/tables/slot-redrives.ts';
import { refill } from './refill.ts';
import type { ScheduleRows } from './schedule-rows.ts';
import type { SimDatabase } from './sim-database.ts';
import type { Holder } from './sim-leases.ts';

/** A request to send a dead slot again. */
export interface RedriveRow extends RedriveKey {
  readonly revision: number;
  /** When it was made, by the database's clock and in the world's time. */
  readonly requestMs: number;
  readonly requestedAtMs: number;
}

/** The statements of `libs/db/src/tables/slot-redrives.ts`, on the rows of the simulated database. */
export class SimRedrives {
  /** All that were ever made. */
  readonly requests: RedriveRow[] = [];
  readonly #database: SimDatabase;
  /** By slot: those that are under way, the oldest first. */
  readonly #open = new Map<string, RedriveRow>();

  constructor(database: SimDatabase) {
    this.#database = database;
  }

  /** Those of which nothing has come yet, the oldest first. */
  get open(): Iterable<RedriveRow> {
    return this.#open.values();
  }

  get openSize(): number {
    return this.#open.size;
  }

  /** Keeps all of them; the function brings them back. */
  copy(): () => void {
    const [requests, open] = [[...this.requests], [...this.#open]];
    return () => {
      this.requests.splice(0, Number.POSITIVE_INFINITY, ...requests);
      refill(this.#open, open);
    };
  }

  /** The request under way for a slot. */
  find(key: RedriveKey): RedriveRow | undefined {
    return this.#open.get(slotOf(key));
  }

  /** Asks for the first `limit` dead slots of a schedule. Tells how many that are. */
  request({ id }: ScheduleRows, limit: number, atMs: number): number {
    const { ledger, transactions } = this.#database;
    const requestMs = this.#database.now();
    const dead = [...ledger.values()]
      .filter((row) => row.schedule === id && row.outcome === 'DEAD')
      .filter((row) => !ledger.has(`${id} ${row.nominalMs} FIRED`))
      .sort((a, b) => a.nominalMs - b.nominalMs)
      .slice(0, limit);
    for (const { revision, nominalMs } of dead) {
      const row: RedriveRow = { schedule: id, nominalMs, revision, requestMs, requestedAtMs: atMs };
      if (this.#open.has(slotOf(row))) continue;
      this.#open.set(slotOf(row), row);
      this.requests.push(row);
    }
    transactions.autocommit();
    return dead.length;
  }

  readKeys(scope: ShardScope, limit: number): RedriveKey[] {
    const { schedules } = this.#database;
    return [...this.#open.values()]
      .filter(({ schedule }) => this.#database.isIn(scope, schedules.get(schedule)!))
      .slice(0, limit)
      .map(({ schedule, nominalMs }) => ({ schedule, nominalMs }));
  }

  read(keys: readonly RedriveKey[]): Redrive[] {
    return keys.flatMap((key) => {
      const row = this.find(key);
      if (!row) return [];
      const { revision, requestMs } = row;
      const schedule = this.#database.schedules.get(key.schedule)!;
      const { timing } = schedule.revision(revision);
      const anchorMs = schedule.newest.anchorMs ?? null;
      return { ...key, revision, requestMs, ...schedule.name, anchorMs, timing, payloadBytes: 100 };
    });
  }

  /** Tells whether the epoch still holds the lease; if not, nothing is written. */
  settle(holder: Holder, settled: readonly SettledRedrive[]): boolean {
    if (!this.#database.isHeldBy(holder)) return false;
    for (const row of settled) {
      if (row.outcome === 'DEAD') this.#database.correctDead(row, holder.epoch);
      else
        this.#database.record(
          { ...row, outcome: row.outcome, lastNominalMs: row.nominalMs, slots: 1 },
          holder.epoch,
        );
      // One that was made since is another.
      if (this.find(row)?.requestMs === row.requestMs) this.#open.delete(slotOf(row));
    }
    this.#database.transactions.autocommit();
    return true;
  }
}

function slotOf({ schedule, nominalMs }: RedriveKey): string {
  return `${schedule} ${nominalMs}`;
}
