import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';

/** As many rows as a flush writes in a fraction of a lease's time: whoever settles slots without a run waits while there are more. */
const MOST_UNWRITTEN = 5_000;

/** Ledger rows that wait for the next flush. */
export class Ledger {
  readonly #refuses: (row: LedgerRow) => boolean;
  #rows: LedgerRow[] = [];

  /** @param refuses whether a row is not to be written: its slots are unsettled all the same. Default: none */
  constructor(refuses: (row: LedgerRow) => boolean = () => false) {
    this.#refuses = refuses;
  }

  get size(): number {
    return this.#rows.length;
  }

  /** Whether as many wait as one flush should write: what can wait is settled after it. */
  get isFull(): boolean {
    return this.#rows.length >= MOST_UNWRITTEN;
  }

  add(row: LedgerRow): void {
    if (!this.#refuses(row)) this.#rows.push(row);
  }

  /** Takes all rows, for a flush. Those of slots that nobody can count are one for each stretch, however it was cut when they were settled. */
  take(): LedgerRow[] {
    const uncounted = new Map<string, LedgerRow>();
    const rows = this.#rows.filter((row) => {
      if (row.slots > 0) return true;
      const key = `${row.schedule} ${row.nominalMs} ${row.outcome}`;
      const known = uncounted.get(key);
      if (!known || known.lastNominalMs < row.lastNominalMs) uncounted.set(key, row);
      return false;
    });
    this.#rows = [];
    return [...rows, ...uncounted.values()];
  }

  /** Takes the rows of a schedule. */
  takeOf(schedule: number): LedgerRow[] {
    const rows = this.#rows.filter((row) => row.schedule === schedule);
    if (rows.length > 0) this.#rows = this.#rows.filter((row) => row.schedule !== schedule);
    return rows;
  }

  /** Puts rows back that could not be written. */
  putBack(rows: readonly LedgerRow[]): void {
    this.#rows = [...rows, ...this.#rows];
  }
}
