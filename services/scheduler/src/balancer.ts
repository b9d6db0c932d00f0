import type { Logger } from '@carillon/server';
import { giverOf, type ReplicaLoad, shareOf } from './balance.ts';
import type { Replicas } from './replicas.ts';
import type { Shards } from './shards.ts';
import type { ShardsStore } from './shards-store.ts';
import type { Share } from './share.ts';

/** Between whom shards are balanced. */
export interface BalancerOptions {
  readonly store: Pick<ShardsStore, 'readLedShards'>;
  readonly shards: Shards;
  readonly replicas: Replicas;
  /** Of this replica. */
  readonly share: Share;
  readonly logger: Logger;
  /** How long a shard that is handed over waits for another replica before this one contends for it again. */
  readonly handOverWaitMs: number;
}

/** A replica that has been silent for longer may be dead: nothing is handed to it, and it has no share. It beats each second. */
const SILENT_MS = 2_500;

/** Keeps shards even over the replicas that live: one at a time, and no more than evens them out. */
export class Balancer {
  readonly #o: BalancerOptions;
  #isMoving = false;

  constructor(options: BalancerOptions) {
    this.#o = options;
  }

  /** A lease may have been released, or a new version set: whoever may take what is free does so at once. */
  async released(): Promise<void> {
    const { shards } = this.#o;
    try {
      await this.#look();
    } finally {
      shards.wake();
    }
    await shards.follow();
  }

  /** Hands one shard over, if this replica is the one that is to. */
  async balance(): Promise<void> {
    const { shards, replicas, logger, handOverWaitMs } = this.#o;
    const loads = await this.#look();
    const { instance } = replicas.own;
    if (this.#isMoving || giverOf(loads) !== instance) return;
    const given = shards.schedulers.findLast(({ state }) => state === 'LEADING');
    if (given === undefined) return;
    logger.info({ shard: given.shard, leads: shards.terms.length }, 'handing a shard over to even them out');
    this.#isMoving = true;
    try {
      await given.handOver(handOverWaitMs);
    } finally {
      this.#isMoving = false;
    }
  }

  /** Looks at who leads what, and sets this replica's share by it. With one shard there is nothing to share out. */
  async #look(): Promise<readonly ReplicaLoad[]> {
    const { store, shards, replicas, share } = this.#o;
    const { version, shards: all } = shards.assignment;
    if (all.length === 1) {
      share.limit = Number.POSITIVE_INFINITY;
      return [];
    }
    const led = await store.readLedShards(version);
    const loads = (await replicas.all())
      .filter(({ silentMs }) => silentMs < SILENT_MS)
      .map(
        ({ instance, state, takesPart }): ReplicaLoad => ({
          instance,
          leads: led.filter(({ owner }) => owner === instance).length,
          isReady: state === 'LEADING' || state === 'STANDBY_READY',
          // One that is ending leads nothing any more.
          takesPart: takesPart && state !== 'DRAINING',
        }),
      );
    share.limit = shareOf(replicas.own.instance, all.length, loads);
    return loads;
  }
}
