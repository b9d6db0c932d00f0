import type { ColumnType, GeneratedAlways } from 'kysely';

/** What a span's revision does. */
export type SpanState = 'ACTIVE' | 'PAUSED';

/** What ended a span. */
export type SpanEndReason = 'REVISED' | 'PAUSED' | 'UNPAUSED' | 'DEACTIVATED' | 'DELETED';

/** Schedules, one row per incarnation of a name. The schedules service is its only writer. */
export interface SchedulesTable {
  id: GeneratedAlways<bigint>;
  uid: string;
  project: string;
  domain: string;
  schedule_id: string;
  description: string;
  /** Written as JSON text. */
  labels: ColumnType<Readonly<Record<string, string>>, string, string>;
  generation: bigint;
  revision: number;
  anchor_time: Date | null;
  hash_slot: number;
  create_time: Date;
  update_time: Date;
  delete_time: Date | null;
  xid: bigint;
}

/** Revisions of schedules, which never change. The schedules service is its only writer. */
export interface ScheduleRevisionsTable {
  schedule: bigint;
  revision: number;
  /** A ScheduleSpec without its run. */
  timing: Buffer;
  /** A RunSpec. */
  run: Buffer;
  task: string;
  time_zone: string;
  create_time: Date;
  actor: string;
}

/** The history of schedules: rows are added, and ended once. The schedules service is its only writer. */
export interface ScheduleSpansTable {
  schedule: bigint;
  span: number;
  revision: number;
  state: SpanState;
  from_time: Date;
  to_time: Date | null;
  end_reason: SpanEndReason | null;
  actor: string;
  reason: string;
}

/** The tables that schedules are made of. */
export interface ScheduleTables {
  schedules: SchedulesTable;
  schedule_revisions: ScheduleRevisionsTable;
  schedule_spans: ScheduleSpansTable;
}
