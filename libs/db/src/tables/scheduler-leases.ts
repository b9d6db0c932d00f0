import type pg from 'pg';
import { LINEAGE } from '../server-session.ts';

/** Wakes standbys when a lease is released. A hint: they look every second regardless. */
export const LEASES_CHANNEL = 'carillon_scheduler_leases';

/** A grant of a shard's lease, or its renewal. Times are epoch milliseconds by the database's clock. */
export interface LeaseGrant {
  /** Rises with each grant: the fencing token. */
  readonly epoch: number;
  readonly expireMs: number;
  /** The database's clock when it answered. */
  readonly databaseNowMs: number;
  /** The lineage of the database that granted it (`server-session.ts`): it is worth nothing under another. */
  readonly lineage: string;
}

/** What a contender saw of a lease that another one holds. */
export interface ObservedLease {
  readonly epoch: number;
  readonly expireMs: number;
}

const GRANT = `epoch::float8 as epoch, floor(extract(epoch from expire_time) * 1000)::float8 as "expireMs",
  floor(extract(epoch from clock_timestamp()) * 1000)::float8 as "databaseNowMs", ${LINEAGE} as lineage`;

/**
 * Takes the lease of `shard` if it is free: never granted, released, run out by the database's clock, held by this very owner
 * (a process that restarted under its name), or seen unchanged for a whole ttl (`stale`), whatever the clock says. A grant begins
 * a term, and never lowers the expiry. Undefined if it is not free.
 */
export async function acquireLease(
  pool: pg.Pool,
  shard: string,
  owner: string,
  ttlMs: number,
  stale: ObservedLease | undefined,
): Promise<LeaseGrant | undefined> {
  const { rows } = await pool.query<LeaseGrant>(
    `with granted as (
      insert into scheduler_leases as l (shard, owner, epoch, expire_time)
      values ($1, $2, 1, clock_timestamp() + $3 * interval '1 millisecond')
      on conflict (shard) do update set
        owner = $2, epoch = l.epoch + 1, flushes = 0, expire_time = greatest(l.expire_time, excluded.expire_time)
      where l.owner is null or l.owner = $2 or l.expire_time < clock_timestamp()
        or (l.epoch = $4 and floor(extract(epoch from l.expire_time) * 1000) = $5)
      returning l.epoch, l.expire_time
    ), term as (
      insert into scheduler_terms (shard, epoch, owner, ready_time, end_time)
      select $1, epoch, $2, clock_timestamp(), expire_time from granted
    )
    select ${GRANT} from granted`,
    [shard, owner, ttlMs, stale?.epoch ?? -1, stale?.expireMs ?? -1],
  );
  return rows[0];
}

/**
 * Extends a lease that nobody else has taken since, even if it ran out; undefined if somebody has. The expiry always moves, also after the
 * clock was set back: by that standbys see that its holder lives.
 */
export async function renewLease(
  pool: pg.Pool,
  shard: string,
  owner: string,
  epoch: number,
  ttlMs: number,
): Promise<LeaseGrant | undefined> {
  const { rows } = await pool.query<LeaseGrant>(
    `with renewed as (
      update scheduler_leases
      set expire_time = greatest(expire_time + interval '1 millisecond', clock_timestamp() + $4 * interval '1 millisecond')
      where shard = $1 and owner = $2 and epoch = $3
      returning epoch, expire_time
    ), term as (
      update scheduler_terms t set end_time = renewed.expire_time from renewed where t.shard = $1 and t.epoch = $3
    )
    select ${GRANT} from renewed`,
    [shard, owner, epoch, ttlMs],
  );
  return rows[0];
}

/** Gives a lease back and ends its term now. The expiry stays: what was sent under it may still arrive until then. */
export async function releaseLease(
  pool: pg.Pool,
  shard: string,
  owner: string,
  epoch: number,
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `with released as (
      update scheduler_leases set owner = null where shard = $1 and owner = $2 and epoch = $3 returning shard
    ), term as (
      update scheduler_terms t set end_time = clock_timestamp() from released where t.shard = $1 and t.epoch = $3
    )
    select pg_notify($4, shard) from released`,
    [shard, owner, epoch, LEASES_CHANNEL],
  );
  return rowCount === 1;
}

/** Who holds the lease now; undefined if it was never granted. */
export async function readLease(
  pool: pg.Pool,
  shard: string,
): Promise<(ObservedLease & { readonly owner: string | null }) | undefined> {
  const { rows } = await pool.query<ObservedLease & { owner: string | null }>(
    `select owner, epoch::float8 as epoch, floor(extract(epoch from expire_time) * 1000)::float8 as "expireMs"
    from scheduler_leases where shard = $1`,
    [shard],
  );
  return rows[0];
}

/** A leadership, as it was stored. Epoch milliseconds by the database's clock. */
export interface TermRow {
  readonly shard: string;
  /** The version of the assignment that it was granted under. */
  readonly version: number;
  readonly readyMs: number;
  readonly endMs: number;
}

/** The terms of `shard` before `epoch`, and those of every shard under versions before `version`, that ended within `windowMs`, oldest first. */
export async function readTerms(
  pool: pg.Pool,
  { shard, version }: { readonly shard: string; readonly version: number },
  epoch: number,
  windowMs: number,
): Promise<TermRow[]> {
  const { rows } = await pool.query<TermRow>(
    `select shard, assignment_version as version, floor(extract(epoch from ready_time) * 1000)::float8 as "readyMs",
      floor(extract(epoch from end_time) * 1000)::float8 as "endMs"
    from scheduler_terms
    where ((shard = $1 and epoch < $2) or assignment_version < $3)
      and end_time > clock_timestamp() - $4 * interval '1 millisecond'
    order by ready_time`,
    [shard, epoch, version, windowMs],
  );
  return rows;
}

/** The gap before the term of `epoch`: from the end of the one before it to its beginning, in milliseconds; undefined without one before. */
export async function readGap(pool: pg.Pool, shard: string, epoch: number): Promise<number | undefined> {
  const { rows } = await pool.query<{ gapMs: number }>(
    `select (extract(epoch from t.ready_time - before.end_time) * 1000)::float8 as "gapMs"
    from scheduler_terms t join scheduler_terms before on before.shard = t.shard and before.epoch = t.epoch - 1
    where t.shard = $1 and t.epoch = $2`,
    [shard, epoch],
  );
  return rows[0]?.gapMs;
}
