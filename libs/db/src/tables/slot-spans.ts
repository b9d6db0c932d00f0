import type pg from 'pg';
import { FRONTIER_OF_SPAN, FRONTIERS_OF_SCHEDULE } from './schedule-feed.ts';

/** A span of a schedule as what became of its slots is told by. Times are epoch milliseconds with a fraction. */
export interface SlotSpan {
  readonly span: number;
  readonly revision: number;
  readonly state: 'ACTIVE' | 'PAUSED';
  /** Slots lie strictly after this, */
  readonly fromMs: number;
  /** and up to this; null while it is open. */
  readonly toMs: number | null;
  /** The revision's spec without its run, in the protobuf binary form. */
  readonly timing: Buffer;
  /** The task of its runs. */
  readonly task: string;
  /** The first stop since it began, by which its slots that were not sent until then are skipped; null: there was none. */
  readonly stop: 'PAUSED' | 'DEACTIVATED' | 'DELETED' | null;
  readonly stopMs: number | null;
  /** Of a paused span, or one that a pause stopped: who paused it, when and why. Null otherwise. */
  readonly pauseActor: string | null;
  readonly pauseMs: number | null;
  readonly pauseReason: string | null;
  /** How far the frontiers that know of it say that its slots are settled; null: none knows of it. */
  readonly frontierMs: number | null;
}

/** Which spans to read. */
export interface SlotSpansRange {
  /** Those with any time after this, in epoch seconds, */
  readonly afterSec: number;
  /** and before or at this. */
  readonly throughSec: number;
  readonly descending: boolean;
  readonly limit: number;
}

/** The spans of a schedule that reach into a stretch of time, in order. */
export async function readSlotSpans(
  db: pg.Pool | pg.ClientBase,
  schedule: bigint,
  { afterSec, throughSec, descending, limit }: SlotSpansRange,
): Promise<SlotSpan[]> {
  const { rows } = await db.query<SlotSpan>(
    `select p.span, p.revision, p.state, (extract(epoch from p.from_time) * 1000)::float8 as "fromMs",
      (extract(epoch from p.to_time) * 1000)::float8 as "toMs", r.timing, r.task,
      stop.end_reason as stop, (extract(epoch from stop.to_time) * 1000)::float8 as "stopMs",
      b.actor as "pauseActor", b.reason as "pauseReason", (extract(epoch from b.from_time) * 1000)::float8 as "pauseMs",
      floor(extract(epoch from ${FRONTIER_OF_SPAN}) * 1000)::float8 as "frontierMs"
    from schedule_spans p
    join schedules s on s.id = p.schedule
    join schedule_revisions r on r.schedule = p.schedule and r.revision = p.revision
    ${FRONTIERS_OF_SCHEDULE}
    left join lateral (
      select z.span, z.end_reason, z.to_time from schedule_spans z
      where z.schedule = p.schedule and z.span >= p.span and p.state = 'ACTIVE'
        and z.end_reason in ('PAUSED', 'DEACTIVATED', 'DELETED')
      order by z.span limit 1
    ) stop on true
    left join lateral (
      select e.span from schedule_spans e
      where e.schedule = p.schedule and e.span < p.span and p.state = 'PAUSED' and e.end_reason = 'PAUSED'
      order by e.span desc limit 1
    ) before on true
    left join schedule_spans b on b.schedule = p.schedule
      and b.span = 1 + coalesce(before.span, case when stop.end_reason = 'PAUSED' then stop.span end)
    where p.schedule = $1 and p.from_time < to_timestamp($3::float8)
      and (p.to_time is null or p.to_time > to_timestamp($2::float8))
    order by p.span ${descending ? 'desc' : 'asc'} limit $4`,
    [schedule, afterSec, throughSec, limit],
  );
  return rows;
}
