import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type Assignment,
  type LeaderStatus,
  type Shard,
  ShardingStrategy,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { printable } from '../display-text.ts';
import { type Column, type TableOptions, tableLines } from '../table.ts';

const STRATEGIES: Readonly<Record<ShardingStrategy, string>> = {
  [ShardingStrategy.UNSPECIFIED]: '',
  [ShardingStrategy.HASH]: ' by hash',
  [ShardingStrategy.PROJECT]: ' by project',
  [ShardingStrategy.DOMAIN]: ' by domain',
};

/**
 * The lines that show shards and who leads them; what is worked on is known of those alone that the asked replica leads.
 *
 * @param leaders what it works on
 */
export function shardLines(
  { shards, strategy, version }: Assignment,
  leaders: readonly LeaderStatus[],
  nowMs: number,
  options: TableOptions,
): string[] {
  const { style } = options;
  const of = (shard: Shard): LeaderStatus | undefined =>
    leaders.find((status) => status.shard === shard.name);
  const known = (title: string, cell: (status: LeaderStatus) => string): Column<Shard> => ({
    title,
    cell: (shard) => {
      const status = of(shard);
      return status ? cell(status) : '';
    },
    align: 'right',
  });
  const table = tableLines<Shard>(
    [
      { title: 'SHARD', cell: ({ name }) => printable(name) },
      ...(strategy === ShardingStrategy.HASH
        ? []
        : [{ title: 'HAS', cell: ({ ids }: Shard) => printable(ids.join(' ')), flexible: true }]),
      {
        title: 'LEADER',
        cell: ({ leader }) => (leader === '' ? 'nobody' : printable(leader)),
        paint: (text, { leader }) => (leader === '' ? style.bad(text) : text),
        flexible: true,
      },
      { title: 'EPOCH', cell: ({ leader, epoch }) => (leader === '' ? '' : String(epoch)), align: 'right' },
      known('SCHEDULES', ({ schedules }) => String(schedules)),
      known('BEHIND', ({ frontierTime }) =>
        frontierTime ? `${((nowMs - timestampMs(frontierTime)) / 1000).toFixed(1)} s` : '',
      ),
      known('BACKLOG', ({ backlog }) => String(backlog)),
      known('IN FLIGHT', ({ outstanding }) => String(outstanding)),
    ],
    shards,
    options,
  );
  return [`${shards.length} shards${STRATEGIES[strategy] ?? ''}, version ${version}`, ...table];
}
