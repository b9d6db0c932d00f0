import { SINGLE_SHARD } from '@carillon/core/assignment.ts';
import type pg from 'pg';

/** What a scheduler process does. */
export type ReplicaState = 'STARTING' | 'STANDBY_READY' | 'LEADING' | 'DRAINING';

/** A scheduler process, as it said of itself. */
export interface ReplicaRow {
  readonly instance: string;
  readonly state: ReplicaState;
  readonly url: string;
  readonly version: string;
  /** Whether it takes its share of the shards. One that has handed over does not: it takes what nobody else takes. */
  readonly takesPart: boolean;
  /** When it said so, in epoch milliseconds by the database's clock. */
  readonly beatMs: number;
  /** How long ago that is. */
  readonly silentMs: number;
}

/** What a replica says of itself. */
export type ReplicaBeat = Omit<ReplicaRow, 'beatMs' | 'silentMs'>;

/** A replica that has said nothing for so long counts no more. */
const SILENT_SECONDS = 10;
/** And is forgotten after this. */
const FORGOTTEN_SECONDS = 3_600;

/** Says what this replica does, and forgets those that are long gone. */
export async function beatReplica(pool: pg.Pool, replica: ReplicaBeat): Promise<void> {
  const { instance, state, url, version, takesPart } = replica;
  await pool.query(
    `with forgotten as (
      delete from scheduler_replicas
      where beat_time < clock_timestamp() - ${FORGOTTEN_SECONDS} * interval '1 second' and instance <> $1
    )
    insert into scheduler_replicas (instance, shard, state, url, version, takes_part) values ($1, $2, $3, $4, $5, $6)
    on conflict (instance) do update set shard = excluded.shard, state = excluded.state, url = excluded.url,
      version = excluded.version, takes_part = excluded.takes_part, beat_time = excluded.beat_time`,
    // Programs that know of one shard only look for those of that name.
    [instance, SINGLE_SHARD, state, url, version, takesPart],
  );
}

/** The replicas that live, by name. */
export async function readReplicas(pool: pg.Pool): Promise<ReplicaRow[]> {
  const { rows } = await pool.query<ReplicaRow>(
    `select instance, state, url, version, takes_part as "takesPart", floor(extract(epoch from beat_time) * 1000)::float8 as "beatMs",
      (extract(epoch from clock_timestamp() - beat_time) * 1000)::float8 as "silentMs"
    from scheduler_replicas
    where beat_time > clock_timestamp() - ${SILENT_SECONDS} * interval '1 second'
    order by instance`,
  );
  return rows;
}

/** Says that this replica is gone. */
export async function removeReplica(pool: pg.Pool, instance: string): Promise<void> {
  await pool.query('delete from scheduler_replicas where instance = $1', [instance]);
}
