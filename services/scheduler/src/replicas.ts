import type { ReplicaBeat, ReplicaRow } from '@carillon/db/tables/scheduler-replicas.ts';
import type { Shards } from './shards.ts';
import type { ShardsStore } from './shards-store.ts';

/** What a replica says of itself. */
export interface ReplicaIdentity {
  readonly instance: string;
  readonly version: string;
}

/** This replica among all. */
export class Replicas {
  readonly #store: ShardsStore;
  readonly #shards: Shards;
  readonly #identity: ReplicaIdentity;
  #url = '';
  #takesPart = true;

  constructor(store: ShardsStore, shards: Shards, identity: ReplicaIdentity) {
    this.#store = store;
    this.#shards = shards;
    this.#identity = identity;
  }

  /** Where this replica can be asked, as soon as that is known. */
  listensAt(url: string): void {
    this.#url = url;
  }

  /** From now on this replica takes only shards that nobody else takes. */
  async stepBack(): Promise<void> {
    this.#takesPart = false;
    await this.beat();
  }

  /** This replica, as it is now. */
  get own(): ReplicaBeat {
    return { ...this.#identity, url: this.#url, state: this.#shards.state, takesPart: this.#takesPart };
  }

  /** Says what this replica does. */
  async beat(): Promise<void> {
    await this.#store.beatReplica(this.own);
  }

  /** All that live, this one included. */
  async all(): Promise<readonly ReplicaRow[]> {
    return await this.#store.readReplicas();
  }

  /** Says that this replica is gone. */
  async leave(): Promise<void> {
    await this.#store.removeReplica(this.#identity.instance);
  }
}
