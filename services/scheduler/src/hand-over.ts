import { create } from '@bufbuild/protobuf';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { failedPrecondition } from '@carillon/core/domain-error.ts';
import {
  type HandedOverShard,
  HandedOverShardSchema,
  type HandOverRequest,
  type HandOverResponse,
  HandOverResponseSchema,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Replicas } from './replicas.ts';
import type { Shards } from './shards.ts';

/** What handing over needs. */
export interface HandOverOptions {
  readonly shards: Shards;
  readonly replicas: Replicas;
  /** The gap before the term of an epoch of a shard, in milliseconds. */
  readonly readGap: (shard: string, epoch: number) => Promise<number | undefined>;
}

const DEFAULT_WAIT_MS = 10_000;

/** Hands every shard that this replica leads to standbys, and answers when these lead. */
export function handOver({ shards, replicas, readGap }: HandOverOptions) {
  return async (request: HandOverRequest): Promise<HandOverResponse> => {
    const { instance } = replicas.own;
    const others = (await replicas.all()).filter((replica) => replica.instance !== instance);
    if (shards.state !== 'LEADING') {
      const leader = others.find((replica) => replica.state === 'LEADING');
      throw failedPrecondition(
        'NOT_LEADING',
        `this replica does not lead; ask ${leader?.url ?? 'the one that does'}`,
        {
          ...(leader ? { leader: leader.instance, url: leader.url } : {}),
        },
      );
    }
    // One that leads another shard has loaded what it needs, too.
    const isReady = others.some(({ state }) => state === 'STANDBY_READY' || state === 'LEADING');
    if (!request.force && !isReady) {
      throw failedPrecondition('NO_STANDBY', 'no replica is ready to take over: start one, or use force');
    }
    await replicas.stepBack();
    const given = await shards.handOver(request.wait ? durationMs(request.wait) : DEFAULT_WAIT_MS);
    const left = given.filter(({ successor }) => successor === undefined).map(({ shard }) => shard);
    if (left.length > 0) {
      throw new ConnectError(`no replica took over in time: ${left.join(', ')}`, Code.DeadlineExceeded);
    }
    const handed = await Promise.all(
      given.map(async ({ shard, successor }) => {
        const { owner, epoch } = successor!;
        const gapMs = await readGap(shard, epoch);
        const gap = gapMs === undefined ? {} : { gap: durationFromMs(Math.max(0, Math.round(gapMs))) };
        return create(HandedOverShardSchema, { shard, leader: owner, epoch: BigInt(epoch), ...gap });
      }),
    );
    const [first] = handed;
    const longest = handed.toSorted((a, b) => gapMsOf(b) - gapMsOf(a))[0]?.gap;
    return create(HandOverResponseSchema, {
      shards: handed,
      leader: first?.leader ?? '',
      epoch: first?.epoch ?? 0n,
      ...(longest ? { gap: longest } : {}),
    });
  };
}

function gapMsOf({ gap }: HandedOverShard): number {
  return gap === undefined ? -1 : durationMs(gap);
}
