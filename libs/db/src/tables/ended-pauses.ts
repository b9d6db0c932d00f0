import type { ShardScope } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { inScope } from './schedule-scope.ts';

/** Where in the order of their ends pauses are read on; undefined: from the beginning. */
export interface EndedPausePlace {
  /** In epoch milliseconds with a fraction. */
  readonly toMs: number;
  readonly schedule: number;
  readonly span: number;
}

/** A paused span that has ended. Times are epoch milliseconds. */
export interface EndedPause extends EndedPausePlace {
  readonly revision: number;
  /** Slots lie strictly after this, and up to `toMs`. */
  readonly fromMs: number;
  /** Who paused it, and why. */
  readonly actor: string;
  readonly reason: string;
  readonly project: string;
  readonly domain: string;
  readonly scheduleId: string;
  /** The anchor of a rate without a start time. */
  readonly anchorMs: number | null;
  /** The revision's spec without its run, in the protobuf binary form. */
  readonly timing: Buffer;
  /**
   * Nominal times of slots within it whose rows say why else they were skipped, ascending: sent before the pause was committed, which counts
   * from earlier on.
   */
  readonly toldMs: readonly number[];
}

/** Paused spans of a shard that ended within `withinDays`, after `after`, and that no ledger row speaks of, in the order of their ends. */
export async function readEndedPauses(
  pool: pg.Pool,
  scope: ShardScope,
  after: EndedPausePlace | undefined,
  withinDays: number,
  limit: number,
): Promise<EndedPause[]> {
  const own = inScope(scope, 's', '$6');
  const { rows } = await pool.query<EndedPause>(
    `select p.schedule::float8 as schedule, p.span, p.revision, (extract(epoch from p.from_time) * 1000)::float8 as "fromMs",
      (extract(epoch from p.to_time) * 1000)::float8 as "toMs", b.actor, b.reason, s.project, s.domain, s.schedule_id as "scheduleId",
      floor(extract(epoch from s.anchor_time) * 1000)::float8 as "anchorMs", r.timing,
      array(
        select (extract(epoch from l.nominal_time) * 1000)::float8 from slot_ledger l
        where l.schedule = p.schedule and l.nominal_time > p.from_time and l.nominal_time <= p.to_time
          and l.day between (p.from_time at time zone 'UTC')::date and (p.to_time at time zone 'UTC')::date
          and l.outcome = 'SKIPPED' and l.slots = 1
        order by l.nominal_time
      ) as "toldMs"
    from schedule_spans p
    join schedules s on s.id = p.schedule
    join schedule_revisions r on r.schedule = p.schedule and r.revision = p.revision
    -- A pause may go on over several spans, when it is revised; the first of them tells who began it, and why.
    join lateral (
      select b.actor, b.reason from schedule_spans e
      join schedule_spans b on b.schedule = e.schedule and b.span = e.span + 1
      where e.schedule = p.schedule and e.span < p.span and e.end_reason = 'PAUSED'
      order by e.span desc limit 1
    ) b on true
    where p.state = 'PAUSED' and p.to_time > clock_timestamp() - $4 * interval '1 day'
      and (p.to_time, p.schedule, p.span) > (to_timestamp($1::float8 / 1000), $2::bigint, $3::int)
      and not exists (
        select from slot_ledger l
        where l.schedule = p.schedule and l.nominal_time > p.from_time and l.nominal_time <= p.to_time
          and l.day between (p.from_time at time zone 'UTC')::date and (p.to_time at time zone 'UTC')::date
          and l.outcome = 'SKIPPED' and l.reason = 'PAUSED')
      and ${own.sql}
    order by p.to_time, p.schedule, p.span limit $5`,
    [after?.toMs ?? 0, after?.schedule ?? 0, after?.span ?? 0, withinDays, limit, ...own.values],
  );
  return rows;
}
