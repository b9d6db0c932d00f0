import type { AssignedShard, Assignment, ShardingStrategy } from '@carillon/core/assignment.ts';
import type pg from 'pg';
import { LEASES_CHANNEL } from './scheduler-leases.ts';

/** What is stored of assignments. */
export interface StoredAssignments {
  /** All there ever were, oldest first. */
  readonly history: readonly Assignment[];
  /** The version that leases are granted under; undefined: none was ever set. */
  readonly inForce: number | undefined;
}

/** Reads all assignments. */
export async function readAssignments(db: pg.Pool | pg.ClientBase): Promise<StoredAssignments> {
  const { rows } = await db.query<{
    version: number;
    strategy: ShardingStrategy;
    shards: AssignedShard[];
    inForce: boolean;
  }>(
    `select a.version, a.strategy, a.shards, f.version is not null as "inForce"
    from scheduler_assignments a left join scheduler_assignment_in_force f on f.version = a.version
    order by a.version`,
  );
  return {
    history: rows.map(({ version, strategy, shards }) => ({ version, strategy, shards })),
    inForce: rows.find(({ inForce }) => inForce)?.version,
  };
}

/** The version of the assignment that is in force; undefined: none was ever set. */
export async function readVersionInForce(pool: pg.Pool): Promise<number | undefined> {
  const { rows } = await pool.query<{ version: number }>('select version from scheduler_assignment_in_force');
  return rows[0]?.version;
}

/**
 * Sets an assignment, unless its version is there already or a higher one is in force. It waits for grants of leases that are in progress, and
 * none is made under a lower version once it has returned. Whoever contends is told.
 */
export async function setAssignment(pool: pg.Pool, { version, strategy, shards }: Assignment): Promise<void> {
  await pool.query(
    `with added as (
      insert into scheduler_assignments (version, strategy, shards)
      select $1, $2, $3
      where not exists (select from scheduler_assignment_in_force where version > $1)
      on conflict (version) do nothing
      returning version
    ), put_in_force as (
      insert into scheduler_assignment_in_force as f (version) select version from added
      on conflict (singleton) do update set version = excluded.version where f.version < excluded.version
      returning version
    )
    select pg_notify($4, '') from put_in_force`,
    [version, strategy, JSON.stringify(shards), LEASES_CHANNEL],
  );
}
