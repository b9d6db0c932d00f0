import { sql } from 'kysely';
import type { RunDb } from './runs.ts';

/**
 * The locks of concurrency keys: whoever changes which runs of a key are going, or waiting, has its row locked. A row means
 * nothing else, and may be deleted at any time: who waits for it makes a new one.
 *
 * The order of locks is that of all transactions: keys in the order of their names first, then places in queues and leases, then runs.
 */
export interface ConcurrencyKeysTable {
  project: string;
  domain: string;
  key: string;
}

/** What runs share. */
export interface ConcurrencyKey {
  readonly project: string;
  readonly domain: string;
  readonly key: string;
}

/** Identifies a key in a map. */
export function keyId({ project, domain, key }: ConcurrencyKey): string {
  return `${project} ${domain} ${key}`;
}

/** The distinct ones. */
export function distinctKeys(keys: Iterable<ConcurrencyKey>): ConcurrencyKey[] {
  const distinct = new Map<string, ConcurrencyKey>();
  for (const key of keys) distinct.set(keyId(key), key);
  return [...distinct.values()];
}

/** The columns of distinct keys, as arrays for `unnest($::text[], $::text[], $::text[])`. */
export function concurrencyKeyArrays(keys: readonly ConcurrencyKey[]) {
  return sql`unnest(
    ${keys.map(({ project }) => project)}::text[], ${keys.map(({ domain }) => domain)}::text[],
    ${keys.map(({ key }) => key)}::text[]
  )`;
}

/** Locks keys until the end of the transaction, which holds no other lock of a run yet. */
export async function lockConcurrencyKeys(trx: RunDb, keys: readonly ConcurrencyKey[]): Promise<void> {
  if (keys.length === 0) return;
  // A row that exists is locked although it is not changed.
  await sql`
    insert into concurrency_keys (project, domain, key)
    select project, domain, key from ${concurrencyKeyArrays(distinctKeys(keys))} as wanted (project, domain, key)
    order by project, domain, key
    on conflict (project, domain, key) do update set key = excluded.key where false
  `.execute(trx);
}

/** The same for the keys of the runs that are held by leases of these tokens. */
export async function lockKeysOfLeases(trx: RunDb, tokens: readonly string[]): Promise<void> {
  if (tokens.length === 0) return;
  await sql`
    insert into concurrency_keys (project, domain, key)
    select distinct project, domain, concurrency_key
    from run_leases
    where token = any(${tokens}::uuid[]) and concurrency_key is not null
    order by project, domain, concurrency_key
    on conflict (project, domain, key) do update set key = excluded.key where false
  `.execute(trx);
}

/** Deletes the rows of keys that no run uses. Those that are locked stay. Resolves to their number. */
export async function sweepConcurrencyKeys(db: RunDb): Promise<bigint> {
  const { numAffectedRows } = await sql`
    delete from concurrency_keys
    where ctid = any(array(
      select ctid from concurrency_keys
      where not exists (
        select from keyed_runs
        where (keyed_runs.project, keyed_runs.domain, keyed_runs.key)
            = (concurrency_keys.project, concurrency_keys.domain, concurrency_keys.key)
      )
      for update skip locked
    ))
  `.execute(db);
  return numAffectedRows ?? 0n;
}
