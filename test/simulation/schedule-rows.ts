import { hashSlot } from '@carillon/core/hash-slot.ts';
import type { SimSpec } from './sim-spec.ts';
import { type Snapshot, sees } from './transactions.ts';

/** Why a span ended. */
export type EndReason = 'REVISED' | 'PAUSED' | 'UNPAUSED' | 'DEACTIVATED' | 'DELETED';

/** A span with the transactions that wrote it, and when these were committed. Instants are epoch milliseconds with fractions. */
export interface SpanRow {
  readonly span: number;
  readonly revision: number;
  readonly state: 'ACTIVE' | 'PAUSED';
  readonly fromMs: number;
  readonly xid: number;
  /** When it became visible, in the world's time; undefined: not yet. */
  begunAtMs: number | undefined;
  end: SpanEnd | undefined;
}

/** The end of a span. */
export interface SpanEnd {
  readonly toMs: number;
  readonly reason: EndReason;
  readonly xid: number;
  /** When it became visible, in the world's time and by the database's clock; undefined: not yet. */
  seenAtMs: number | undefined;
  seenAtDatabaseMs: number;
}

/** One write of a schedule's own row. */
export interface ScheduleVersion {
  readonly xid: number;
  readonly generation: number;
  readonly anchorMs: number | undefined;
  readonly deleted: boolean;
}

/** A revision. */
export interface RevisionRow {
  readonly spec: SimSpec;
  readonly timing: Buffer;
  /** Whether it cannot be read for a while. */
  isUnreadable: boolean;
  /** Whether it ever could not be read. */
  wasUnreadable: boolean;
}

/** A name that a schedule may have. */
export interface SimName {
  readonly project: string;
  readonly domain: string;
  readonly scheduleId: string;
}

/** An incarnation of a schedule, with all versions of its rows. */
export class ScheduleRows {
  readonly id: number;
  readonly uid: string;
  readonly name: SimName;
  readonly unit: number;
  readonly versions: ScheduleVersion[] = [];
  readonly revisions: RevisionRow[] = [];
  readonly spans: SpanRow[] = [];
  /** Counts changes of what is committed. */
  changes = 0;

  constructor(id: number, name: SimName) {
    this.id = id;
    this.uid = `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`;
    this.name = name;
    this.unit = hashSlot(name);
  }

  get identity(): string {
    return `${this.name.project}/${this.name.domain}/${this.name.scheduleId}`;
  }

  /** The newest version, committed or not: the writer's own view, who holds the lock. */
  get newest(): ScheduleVersion {
    return this.versions.at(-1)!;
  }

  /** The open span, in the writer's own view. */
  get open(): SpanRow | undefined {
    const last = this.spans.at(-1);
    return last?.end === undefined ? last : undefined;
  }

  revision(number: number): RevisionRow {
    return this.revisions[number - 1]!;
  }

  versionIn(snapshot: Snapshot): ScheduleVersion | undefined {
    return this.versions.findLast((version) => sees(snapshot, version.xid));
  }

  spansIn(snapshot: Snapshot): SpanRow[] {
    return this.spans.filter((span) => sees(snapshot, span.xid));
  }

  /** Keeps what is committed; the function brings it back. */
  copy(isInFlight: (xid: number) => boolean): () => void {
    const [versions, revisions, spans] = [
      this.versions.filter(({ xid }) => !isInFlight(xid)),
      [...this.revisions],
      this.spans
        .filter(({ xid }) => !isInFlight(xid))
        .map((span) => ({
          ...span,
          end: span.end && !isInFlight(span.end.xid) ? { ...span.end } : undefined,
        })),
    ];
    return () => {
      this.versions.splice(0, Number.POSITIVE_INFINITY, ...versions);
      this.revisions.splice(0, Number.POSITIVE_INFINITY, ...revisions);
      this.spans.splice(0, Number.POSITIVE_INFINITY, ...spans);
      this.changes++;
    };
  }

  /** Takes away what an aborted transaction wrote. */
  undo(xid: number): void {
    removeWhere(this.versions, (version) => version.xid === xid);
    removeWhere(this.spans, (span) => span.xid === xid);
    for (const span of this.spans) if (span.end?.xid === xid) span.end = undefined;
  }
}

/** The end of a span as a snapshot sees it. */
export function endIn(span: SpanRow, snapshot: Snapshot): SpanEnd | undefined {
  return span.end && sees(snapshot, span.end.xid) ? span.end : undefined;
}

function removeWhere<T>(list: T[], matches: (item: T) => boolean): void {
  for (let index = list.length - 1; index >= 0; index--) if (matches(list[index]!)) list.splice(index, 1);
}
