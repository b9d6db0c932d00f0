import { create } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { failedPrecondition } from '@carillon/core/domain-error.ts';
import {
  type HandOverRequest,
  type HandOverResponse,
  HandOverResponseSchema,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Replicas } from './replicas.ts';
import type { Scheduler } from './scheduler.ts';

/** What handing over needs. */
export interface HandOverOptions {
  readonly scheduler: Scheduler;
  readonly replicas: Replicas;
  /** The gap before the term of an epoch, in milliseconds. */
  readonly readGap: (epoch: number) => Promise<number | undefined>;
}

const DEFAULT_WAIT_MS = 10_000;

/** Hands the lease to a standby, and answers when that one leads. */
export function handOver({ scheduler, replicas, readGap }: HandOverOptions) {
  return async (request: HandOverRequest): Promise<HandOverResponse> => {
    if (scheduler.state !== 'LEADING') {
      const leader = (await replicas.all()).find((replica) => replica.state === 'LEADING');
      throw failedPrecondition(
        'NOT_LEADING',
        `this replica does not lead; ask ${leader?.url ?? 'the one that does'}`,
        {
          ...(leader ? { leader: leader.instance, url: leader.url } : {}),
        },
      );
    }
    if (!request.force && !(await replicas.all()).some((replica) => replica.state === 'STANDBY_READY')) {
      throw failedPrecondition('NO_STANDBY', 'no replica is ready to take over: start one, or use force');
    }
    const successor = await scheduler.handOver(request.wait ? durationMs(request.wait) : DEFAULT_WAIT_MS);
    if (!successor) throw new ConnectError('no replica took over in time', Code.DeadlineExceeded);
    const gapMs = await readGap(successor.epoch);
    return create(HandOverResponseSchema, {
      leader: successor.owner,
      epoch: BigInt(successor.epoch),
      ...(gapMs === undefined ? {} : { gap: durationFromMs(Math.max(0, Math.round(gapMs))) }),
    });
  };
}
