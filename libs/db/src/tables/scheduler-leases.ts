import type { GrantedShard } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { FIRST_LINEAGE, LINEAGE } from '../server-session.ts';

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

/** A lease that is granted. */
export interface NewLease extends LeaseGrant {
  /**
   * Whether the database is another than the one that granted what it takes over: a standby was promoted, or a backup restored, and the terms
   * before this one may have gone on for longer than it knows.
   */
  readonly isOtherDatabase: boolean;
}

/** A lease as a contender saw it, held by another. */
export interface ObservedLease {
  readonly shard: string;
  readonly epoch: number;
  readonly expireMs: number;
}

/** A lease as it is stored. */
export interface StoredLease extends ObservedLease {
  /** Null after a release. */
  readonly owner: string | null;
  /** Whether it was released or has run out, by the database's clock. */
  readonly isFree: boolean;
}

/** Whose lease is asked for, and what stands in its way. */
export interface LeaseClaim {
  readonly shard: string;
  /** The version of the assignment that it is a shard of. */
  readonly version: number;
  /** The leases of older versions that could hold a unit of it (`olderLeases` in `assignment.ts`). */
  readonly older: readonly GrantedShard[];
  /** In which its watermarks will be written (`watermarkFormat`). */
  readonly format: number;
  readonly owner: string;
  readonly ttlMs: number;
}

const GRANT = `epoch::float8 as epoch, floor(extract(epoch from expire_time) * 1000)::float8 as "expireMs",
  floor(extract(epoch from clock_timestamp()) * 1000)::float8 as "databaseNowMs", ${LINEAGE} as lineage`;

/** Of a lease `l`: the one that is asked for, and the older ones in its way. `$1` is the shard, `$2` and `$3` their shards and versions. */
const CLAIMED = `(l.shard = $1 or (l.shard, l.assignment_version) in (select * from unnest($2::text[], $3::int[])))`;

/** Of a lease `l`: whether `$7` may take it. `$4` and on are those that were seen unchanged. */
const TAKEABLE = `(l.owner is null or l.owner = $7 or l.expire_time < clock_timestamp()
          or (l.shard, l.epoch, floor(extract(epoch from l.expire_time) * 1000)) in (select * from unnest($4::text[], $5::bigint[], $6::float8[])))`;

/**
 * Takes the lease of a shard if it is free, and with it every older lease that could hold a unit of it: never granted, released, run out by the
 * database's clock, held by this very owner (a process that restarted under its name), or seen unchanged for a whole ttl (`stale`), whatever
 * the clock says. Older leases that are still held are fenced: their holders can neither renew nor write. A grant begins a term, and its expiry is
 * no earlier than any that could ever have held a unit of it, whatever its name was granted for since. Undefined if one is not free, or the
 * version is not in force.
 *
 * All of it is one statement. It locks the version in force, so that a new version comes before it or after it; then the leases in the order of
 * their names, and judges them as they are under the lock.
 */
export async function acquireLease(
  pool: pg.Pool,
  claim: LeaseClaim,
  stale: readonly ObservedLease[],
): Promise<NewLease | undefined> {
  const { rows } = await pool.query<NewLease>(
    `with in_force as materialized (
      select 1 from scheduler_assignment_in_force where version = $9 for share
    ), claimed as materialized (
      -- An older lease that was granted again under a newer version is not in the way, but its expiry still holds.
      select l.*, ${CLAIMED} as in_the_way from scheduler_leases l, in_force where l.shard = $1 or l.shard = any ($2::text[])
      order by l.shard for update of l
    ), taken as materialized (
      select max(l.expire_time) as expire_time,
        coalesce(bool_or(coalesce(l.lineage, ${FIRST_LINEAGE}) <> ${LINEAGE}), ${FIRST_LINEAGE} <> ${LINEAGE}) as is_other
      from claimed l
      having coalesce(bool_and(${TAKEABLE}) filter (where l.in_the_way), true)
        and exists (select from in_force)
    ), granted as (
      insert into scheduler_leases as l (shard, owner, epoch, expire_time, assignment_version, lineage)
      select $1, $7, 1, greatest(expire_time, clock_timestamp() + $8 * interval '1 millisecond'), $9, ${LINEAGE} from taken
      on conflict (shard) do update set owner = excluded.owner, epoch = l.epoch + 1, flushes = 0,
        expire_time = greatest(l.expire_time, excluded.expire_time), assignment_version = excluded.assignment_version,
        lineage = excluded.lineage
      -- One that was granted for the first time a moment ago is not among those that were locked.
      where ${TAKEABLE}
      returning l.epoch, l.expire_time
    ), fenced as (
      update scheduler_leases l set owner = null, epoch = l.epoch + 1
      from claimed, granted where l.shard = claimed.shard and claimed.in_the_way and l.shard <> $1 and l.owner is not null
    ), term as (
      insert into scheduler_terms (shard, epoch, owner, ready_time, end_time, assignment_version)
      select $1, epoch, $7, clock_timestamp(), expire_time, $9 from granted
    ), marked as (
      -- A program that does not know the format must not lead beside this one: it finds one row at least that it refuses.
      update scheduler_frontiers set format = $10
      where unit = (select min(unit) from scheduler_frontiers) and format < $10 and exists (select from granted)
    )
    select ${GRANT}, (select is_other from taken) as "isOtherDatabase" from granted`,
    [
      ...claimValues(claim),
      stale.map(({ shard }) => shard),
      stale.map(({ epoch }) => epoch),
      stale.map(({ expireMs }) => expireMs),
      claim.owner,
      claim.ttlMs,
      claim.version,
      claim.format,
    ],
  );
  return rows[0];
}

/** The lease of a shard, if it was ever granted, and the older ones in its way that are still held. */
export async function readLeases(pool: pg.Pool, claim: LeaseClaim): Promise<StoredLease[]> {
  const { rows } = await pool.query<StoredLease>(
    `select shard, owner, epoch::float8 as epoch, floor(extract(epoch from expire_time) * 1000)::float8 as "expireMs",
      owner is null or expire_time < clock_timestamp() as "isFree"
    from scheduler_leases l where ${CLAIMED} and (shard = $1 or owner is not null)`,
    claimValues(claim),
  );
  return rows;
}

function claimValues({ shard, older }: LeaseClaim): unknown[] {
  const others = older.filter((lease) => lease.shard !== shard);
  return [shard, others.map((lease) => lease.shard), others.map(({ version }) => version)];
}

/** A shard and who leads it. */
export interface LedShard {
  readonly shard: string;
  readonly owner: string;
  readonly epoch: number;
  readonly expireMs: number;
}

/** The shards of a version that are led now. */
export async function readLedShards(pool: pg.Pool, version: number): Promise<LedShard[]> {
  const { rows } = await pool.query<LedShard>(
    `select shard, owner, epoch::float8 as epoch, floor(extract(epoch from expire_time) * 1000)::float8 as "expireMs"
    from scheduler_leases
    where assignment_version = $1 and owner is not null and expire_time > clock_timestamp()
    order by shard`,
    [version],
  );
  return rows;
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

/**
 * Deletes the terms that ended longer than `windowMs` ago, but the last one of each shard: {@link readTerms} finds none of them. Returns how many
 * there were.
 */
export async function deleteOldTerms(pool: pg.Pool, windowMs: number): Promise<number> {
  const { rowCount } = await pool.query(
    `delete from scheduler_terms t
    where end_time < clock_timestamp() - $1 * interval '1 millisecond'
      and exists (select from scheduler_terms later where later.shard = t.shard and later.epoch > t.epoch)`,
    [windowMs],
  );
  return rowCount ?? 0;
}

/** The gap before the term of `epoch`: from the end of the one before it to its beginning, in milliseconds; undefined without one before. */
export async function readGap(pool: pg.Pool, shard: string, epoch: number): Promise<number | undefined> {
  const { rows } = await pool.query<{ gapMs: number }>(
    `select (extract(epoch from t.ready_time - before.end_time) * 1000)::float8 as "gapMs"
    from scheduler_terms t
    join lateral (
      select end_time from scheduler_terms where shard = t.shard and epoch < t.epoch order by epoch desc limit 1
    ) before on true
    where t.shard = $1 and t.epoch = $2`,
    [shard, epoch],
  );
  return rows[0]?.gapMs;
}
