import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Assignment,
  SINGLE_SHARD,
  type ShardingStrategy as Strategy,
} from '@carillon/core/assignment.ts';
import type { LedShard } from '@carillon/db/tables/scheduler-leases.ts';
import type { ReplicaRow, ReplicaState as StoredState } from '@carillon/db/tables/scheduler-replicas.ts';
import {
  AssignmentSchema,
  type GetStatusRequest,
  type GetStatusResponse,
  GetStatusResponseSchema,
  LeaderStatusSchema,
  ReplicaSchema,
  ReplicaState,
  ShardingStrategy,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import type { Replicas } from './replicas.ts';
import type { Scheduler } from './scheduler.ts';
import type { Shards } from './shards.ts';
import type { ShardsStore } from './shards-store.ts';

/** What the status is told from. */
export interface StatusOptions {
  readonly shards: Shards;
  readonly replicas: Replicas;
  readonly store: Pick<ShardsStore, 'readLedShards'>;
}

const STATES: Readonly<Record<StoredState, ReplicaState>> = {
  STARTING: ReplicaState.STARTING,
  STANDBY_READY: ReplicaState.STANDBY_READY,
  LEADING: ReplicaState.LEADING,
  DRAINING: ReplicaState.DRAINING,
};

const STRATEGIES: Readonly<Record<Strategy, ShardingStrategy>> = {
  hash: ShardingStrategy.HASH,
  project: ShardingStrategy.PROJECT,
  domain: ShardingStrategy.DOMAIN,
};

/** Says what this replica does, and what it knows of the others. */
export function getStatus({
  shards,
  replicas,
  store,
}: StatusOptions): (request: GetStatusRequest) => Promise<GetStatusResponse> {
  return async () => {
    await replicas.beat();
    const { assignment } = shards;
    const [rows, led] = await Promise.all([replicas.all(), store.readLedShards(assignment.version)]);
    const all = rows.map((row) => replicaMessage(row, led));
    const replica = all.find(({ instance }) => instance === replicas.own.instance);
    const { breakerState, tokens } = shards.shared;
    const leaders = shards.schedulers.flatMap((scheduler) =>
      leaderMessage(scheduler, { breakerState, tokens }),
    );
    return create(GetStatusResponseSchema, {
      replicas: all,
      ...(replica ? { replica } : {}),
      ...(leaders.length === 1 ? { leader: leaders[0]! } : {}),
      leaders,
      assignment: assignmentMessage(assignment, led),
    });
  };
}

function replicaMessage({ beatMs, silentMs: _, state, ...rest }: ReplicaRow, led: readonly LedShard[]) {
  return create(ReplicaSchema, {
    ...rest,
    shard: SINGLE_SHARD,
    state: STATES[state],
    beatTime: timestampFromMs(beatMs),
    shards: led.filter(({ owner }) => owner === rest.instance).map(({ shard }) => shard),
  });
}

function assignmentMessage({ version, strategy, shards }: Assignment, led: readonly LedShard[]) {
  return create(AssignmentSchema, {
    version,
    strategy: STRATEGIES[strategy],
    shards: shards.map(({ name, ids }) => {
      const lease = led.find(({ shard }) => shard === name);
      if (lease === undefined) return { name, ids: [...ids] };
      return {
        name,
        ids: [...ids],
        leader: lease.owner,
        epoch: BigInt(lease.epoch),
        leaseExpireTime: timestampFromMs(lease.expireMs),
      };
    }),
  });
}

function leaderMessage(
  scheduler: Scheduler,
  shared: { readonly breakerState: string; readonly tokens: number },
) {
  const { term } = scheduler;
  if (!term?.lease.trusted) return [];
  const shown = scheduler.gauged();
  const { frontierMs } = term.watermarks;
  return [
    create(LeaderStatusSchema, {
      shard: scheduler.shard,
      epoch: BigInt(term.lease.epoch),
      leaseExpireTime: timestampFromMs(term.lease.expireMs),
      ...(Number.isFinite(frontierMs) ? { frontierTime: timestampFromMs(Math.floor(frontierMs)) } : {}),
      schedules: BigInt(shown.schedules),
      laggards: BigInt(shown.laggards),
      quarantined: BigInt(shown.quarantined),
      backlog: BigInt(shown.backlog),
      outstanding: BigInt(shown.outstanding),
      ...shared,
    }),
  ];
}
