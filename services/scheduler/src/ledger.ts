import type { LedgerRow } from '@carillon/db/tables/slot-ledger.ts';

/** Ledger rows that wait for the next flush. */
export class Ledger {
  #rows: LedgerRow[] = [];

  get size(): number {
    return this.#rows.length;
  }

  add(row: LedgerRow): void {
    this.#rows.push(row);
  }

  /** Takes all rows, for a flush. */
  take(): LedgerRow[] {
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }

  /** Puts rows back that could not be written. */
  putBack(rows: readonly LedgerRow[]): void {
    this.#rows = [...rows, ...this.#rows];
  }
}
