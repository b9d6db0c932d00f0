import type { Assignment } from '@carillon/core/assignment.ts';
import {
  readAssignments,
  readVersionInForce,
  type StoredAssignments,
  setAssignment,
} from '@carillon/db/tables/scheduler-assignments.ts';
import { type LedShard, readLedShards } from '@carillon/db/tables/scheduler-leases.ts';
import {
  beatReplica,
  type ReplicaBeat,
  type ReplicaRow,
  readReplicas,
  removeReplica,
} from '@carillon/db/tables/scheduler-replicas.ts';
import type pg from 'pg';

/**
 * What a replica asks of the database about shards and the other replicas. What each does is said where the SQL stands, in
 * `libs/db/src/tables`.
 */
export interface ShardsStore {
  readAssignments(): Promise<StoredAssignments>;
  readVersionInForce(): Promise<number | undefined>;
  setAssignment(assignment: Assignment): Promise<void>;
  readLedShards(version: number): Promise<readonly LedShard[]>;
  beatReplica(replica: ReplicaBeat): Promise<void>;
  readReplicas(): Promise<readonly ReplicaRow[]>;
  removeReplica(instance: string): Promise<void>;
}

/** The same in PostgreSQL. */
export function createPostgresShardsStore(pool: pg.Pool): ShardsStore {
  return {
    readAssignments: () => readAssignments(pool),
    readVersionInForce: () => readVersionInForce(pool),
    setAssignment: (assignment) => setAssignment(pool, assignment),
    readLedShards: (version) => readLedShards(pool, version),
    beatReplica: (replica) => beatReplica(pool, replica),
    readReplicas: () => readReplicas(pool),
    removeReplica: (instance) => removeReplica(pool, instance),
  };
}
