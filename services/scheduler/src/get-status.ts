import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ReplicaRow, ReplicaState as StoredState } from '@carillon/db/tables/scheduler-replicas.ts';
import {
  type GetStatusRequest,
  type GetStatusResponse,
  GetStatusResponseSchema,
  ReplicaState,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import type { Replicas } from './replicas.ts';
import type { Scheduler } from './scheduler.ts';

const STATES: Readonly<Record<StoredState, ReplicaState>> = {
  STARTING: ReplicaState.STARTING,
  STANDBY_READY: ReplicaState.STANDBY_READY,
  LEADING: ReplicaState.LEADING,
  DRAINING: ReplicaState.DRAINING,
};

/** Says what this replica does, and what it knows of the others. */
export function getStatus(options: {
  readonly scheduler: Scheduler;
  readonly replicas: Replicas;
}): (request: GetStatusRequest) => Promise<GetStatusResponse> {
  return async () => {
    const { scheduler, replicas } = options;
    await replicas.beat();
    const all = await replicas.all();
    const own = all.find((replica) => replica.instance === replicas.own.instance);
    return create(GetStatusResponseSchema, {
      replicas: all.map(replicaMessage),
      ...(own ? { replica: replicaMessage(own) } : {}),
      ...leaderOf(scheduler),
    });
  };
}

function replicaMessage(row: ReplicaRow) {
  const { beatMs, state, ...rest } = row;
  return { ...rest, state: STATES[state], beatTime: timestampFromMs(beatMs) };
}

function leaderOf(scheduler: Scheduler) {
  const { term } = scheduler;
  if (!term?.lease.trusted) return {};
  const shown = scheduler.gauged();
  const { frontierMs } = term.watermarks;
  return {
    leader: {
      epoch: BigInt(term.lease.epoch),
      leaseExpireTime: timestampFromMs(term.lease.expireMs),
      ...(Number.isFinite(frontierMs) ? { frontierTime: timestampFromMs(Math.floor(frontierMs)) } : {}),
      schedules: BigInt(shown.schedules),
      laggards: BigInt(shown.laggards),
      quarantined: BigInt(shown.quarantined),
      backlog: BigInt(shown.backlog),
      outstanding: BigInt(shown.outstanding),
      breakerState: scheduler.breakerState,
      tokens: shown.tokens,
    },
  };
}
