/** An outcome of slots without a run, or a further one of a slot: a row of the slot ledger. Times are epoch milliseconds. */
export interface LedgerRow {
  readonly schedule: number;
  readonly revision: number;
  /** The first and the last nominal time that the row speaks of. */
  readonly nominalMs: number;
  readonly lastNominalMs: number;
  /** How many slots that is; 0: nobody knows, for their revision cannot be read. Then it speaks of those that have no run. */
  readonly slots: number;
  readonly outcome: 'FIRED' | 'SKIPPED' | 'MISSED' | 'DEAD';
  readonly reason: string;
  readonly message: string;
  /** Empty for more than one slot. */
  readonly runId: string;
  /** When CreateRun was first sent; undefined: never. */
  readonly fireMs: number | undefined;
  readonly latenessMs: number | undefined;
}

/** The columns of {@link LedgerRow} as arrays, for one unnest. */
export function ledgerColumns(rows: readonly LedgerRow[]): unknown[][] {
  return [
    rows.map((row) => row.schedule),
    rows.map((row) => row.revision),
    rows.map((row) => row.nominalMs),
    rows.map((row) => row.lastNominalMs),
    rows.map((row) => row.slots),
    rows.map((row) => row.outcome),
    rows.map((row) => row.reason),
    rows.map((row) => row.message),
    rows.map((row) => row.runId),
    rows.map((row) => row.fireMs ?? null),
    rows.map((row) => row.latenessMs ?? null),
  ];
}
