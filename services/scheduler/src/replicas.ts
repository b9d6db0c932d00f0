import {
  beatReplica,
  type ReplicaRow,
  readReplicas,
  removeReplica,
} from '@carillon/db/tables/scheduler-replicas.ts';
import type pg from 'pg';
import type { Scheduler } from './scheduler.ts';

/** What a replica says of itself. */
export interface ReplicaIdentity {
  readonly instance: string;
  readonly shard: string;
  readonly version: string;
}

/** This replica among those of its shard. */
export class Replicas {
  readonly #pool: pg.Pool;
  readonly #scheduler: Scheduler;
  readonly #identity: ReplicaIdentity;
  #url = '';

  constructor(pool: pg.Pool, scheduler: Scheduler, identity: ReplicaIdentity) {
    this.#pool = pool;
    this.#scheduler = scheduler;
    this.#identity = identity;
  }

  /** Where this replica can be asked, as soon as that is known. */
  listensAt(url: string): void {
    this.#url = url;
  }

  /** This replica, as it is now. */
  get own(): Omit<ReplicaRow, 'beatMs'> {
    return { ...this.#identity, url: this.#url, state: this.#scheduler.state };
  }

  /** Says what this replica does. */
  async beat(): Promise<void> {
    await beatReplica(this.#pool, this.own);
  }

  /** All that live, this one included. */
  async all(): Promise<ReplicaRow[]> {
    return await readReplicas(this.#pool, this.#identity.shard);
  }

  /** Says that this replica is gone. */
  async leave(): Promise<void> {
    await removeReplica(this.#pool, this.#identity.instance);
  }
}
