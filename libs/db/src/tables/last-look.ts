import type pg from 'pg';
import { LINEAGE } from '../server-session.ts';

/** A slot that is about to be sent. */
export interface LookedAtSlot {
  readonly schedule: number;
  readonly revision: number;
  readonly nominalMs: number;
  /** Stops count from here on. Default: from the nominal time on. */
  readonly stopsFromMs?: number | undefined;
}

/** What the database says of a slot, directly before it is sent. */
export interface LastLook {
  readonly project: string;
  readonly domain: string;
  readonly scheduleId: string;
  readonly uid: string;
  /** The revision of the active span that holds its nominal time; null: none does. */
  readonly revision: number | null;
  /** A stop of the schedule that came after its nominal time, or after `stopsFromMs`; null: none did. */
  readonly stop: 'PAUSED' | 'DEACTIVATED' | 'DELETED' | null;
  /** The revision's RunSpec in the protobuf binary form; null with the revision. */
  readonly run: Buffer | null;
  /** The database's clock when it looked, in epoch milliseconds: it may have been set back since the slot fell due. */
  readonly databaseNowMs: number;
}

/**
 * Looks at slots in one query, in one snapshot; a result per slot, in their order. Undefined: there is no such schedule.
 *
 * @param lineage that of the database which granted the lease that they are sent under. Default: any
 * @throws {Error} if the database is another: its leases do not know of what is sent under that one
 */
export async function lastLook(
  pool: pg.Pool,
  slots: readonly LookedAtSlot[],
  lineage?: string,
): Promise<(LastLook | undefined)[]> {
  // Each slot by itself (`limit`, subselects): as joins the planner would read whole tables for a batch, up to some ten thousand rows.
  const { rows } = await pool.query<LastLook & { place: number; lineage: string }>(
    `select slot.place::int as place, s.project, s.domain, s.schedule_id as "scheduleId", s.uid::text as uid, p.revision,
      (select r.run from schedule_revisions r where r.schedule = slot.schedule and r.revision = p.revision) as run,
      (select z.end_reason from schedule_spans z
        where z.schedule = slot.schedule and z.end_reason in ('PAUSED', 'DEACTIVATED', 'DELETED')
          and z.to_time >= to_timestamp(coalesce(slot.stops_from, slot.nominal) / 1000)
        order by z.to_time limit 1) as stop,
      (select (extract(epoch from clock_timestamp()) * 1000)::float8) as "databaseNowMs",
      (select ${LINEAGE}) as lineage
    from unnest($1::bigint[], $2::float8[], $3::float8[]) with ordinality as slot (schedule, nominal, stops_from, place)
    join lateral (
      select s.project, s.domain, s.schedule_id, s.uid from schedules s where s.id = slot.schedule limit 1
    ) s on true
    left join lateral (
      select p.revision from schedule_spans p
      where p.schedule = slot.schedule and p.state = 'ACTIVE' and p.from_time < to_timestamp(slot.nominal / 1000)
        and (p.to_time is null or p.to_time >= to_timestamp(slot.nominal / 1000))
      order by p.span desc limit 1
    ) p on true`,
    [
      slots.map((slot) => slot.schedule),
      slots.map((slot) => slot.nominalMs),
      slots.map((slot) => slot.stopsFromMs ?? null),
    ],
  );
  const other = rows.find((row) => lineage !== undefined && row.lineage !== lineage);
  if (other)
    throw new Error(`the lease was granted by the database ${lineage}, and this is ${other.lineage}`);
  const looks: (LastLook | undefined)[] = new Array(slots.length).fill(undefined);
  for (const row of rows) looks[row.place - 1] = row;
  return looks;
}
