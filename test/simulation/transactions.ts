/** What a reader sees: as PostgreSQL's `pg_snapshot`. */
export interface Snapshot {
  readonly xmax: number;
  readonly xip: ReadonlySet<number>;
  /** As PostgreSQL writes it. */
  readonly text: string;
}

/** Transaction ids and who sees whom, as in PostgreSQL. A transaction that writes has an id; those in flight are seen by nobody. */
export class Transactions {
  #next = 100;
  /** The newest id that is certain to be on disk: a crash may hand out again what comes after it. */
  #durable = 99;
  readonly #inFlight = new Set<number>();
  readonly #snapshots = new Map<string, Snapshot>();

  begin(): number {
    const xid = this.#next++;
    this.#inFlight.add(xid);
    return xid;
  }

  commit(xid: number): void {
    this.#inFlight.delete(xid);
    this.#durable = Math.max(this.#durable, xid);
  }

  /** Its rows are to be taken away by whoever wrote them. */
  abort(xid: number): void {
    this.#inFlight.delete(xid);
  }

  isInFlight(xid: number): boolean {
    return this.#inFlight.has(xid);
  }

  /** Transactions that came to nothing, as probes for runs do by design: no id of theirs need ever reach the disk. */
  burn(count: number): void {
    for (let index = 0; index < count; index++) this.abort(this.begin());
  }

  /** A write that begins and ends at once. */
  autocommit(): void {
    this.commit(this.begin());
  }

  /** The server dies: what was in flight is undone, and ids that never reached the disk are handed out again. */
  crash(): number[] {
    const undone = [...this.#inFlight];
    this.#inFlight.clear();
    this.#next = this.#durable + 1;
    return undone;
  }

  /** Keeps what a standby has; the function brings it back, without what was in flight. */
  copy(): () => void {
    const next = this.#next;
    return () => {
      this.#inFlight.clear();
      this.#next = next;
      this.#durable = next - 1;
    };
  }

  snapshot(): Snapshot {
    const xip = [...this.#inFlight].sort((a, b) => a - b);
    const text = `${xip[0] ?? this.#next}:${this.#next}:${xip.join(',')}`;
    return this.parse(text);
  }

  parse(text: string): Snapshot {
    let snapshot = this.#snapshots.get(text);
    if (!snapshot) {
      const [, xmax = '', xip = ''] = text.split(':');
      snapshot = { xmax: Number(xmax), xip: new Set(xip === '' ? [] : xip.split(',').map(Number)), text };
      this.#snapshots.set(text, snapshot);
    }
    return snapshot;
  }
}

/** `pg_visible_in_snapshot`. */
export function sees(snapshot: Snapshot, xid: number): boolean {
  return xid < snapshot.xmax && !snapshot.xip.has(xid);
}
