import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type GetStatusResponse,
  GetStatusResponseSchema,
  type LeaderStatus,
  type Replica,
  ReplicaState,
} from '@carillon/gen/carillon/scheduler/v1/scheduler_service_pb.ts';
import { Command } from 'commander';
import {
  type FormatOptions,
  outputStyle,
  printLines,
  tableOptions,
  withFormatOption,
} from '../command-options.ts';
import { type ConnectionOptions, connectScheduler, reach, withConnectionOptions } from '../connection.ts';
import { printable } from '../display-text.ts';
import { type Facts, factLines } from '../facts.ts';
import type { Host } from '../host.ts';
import { renderMessage } from '../output-format.ts';
import { tableLines } from '../table.ts';
import { paintReplicaState, replicaStateText } from './replica-state.ts';
import { shardLines } from './shard-table.ts';

interface StatusOptions extends ConnectionOptions, FormatOptions {}

/** `carillon scheduler status`. */
export function schedulerStatusCommand(host: Host): Command {
  const command = new Command('status')
    .description(
      'show the replicas of the scheduler, who leads what, and what the one that is asked works on',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ carillon scheduler status
  $ carillon scheduler status --scheduler-server http://10.0.3.7:7702 -o json
`,
    );
  withConnectionOptions(withFormatOption(command), 'scheduler');
  return command.action(async (options: StatusOptions) => {
    const connection = await connectScheduler(host, options);
    const status = await reach(connection, connection.client.getStatus({}, connection.call));
    if (options.output !== 'table') {
      host.stdout.write(renderMessage(GetStatusResponseSchema, status, options.output));
      return;
    }
    printLines(host, statusLines(host, status));
  });
}

function statusLines(host: Host, status: GetStatusResponse): string[] {
  const { replicas, leader, leaders, replica, assignment } = status;
  const style = outputStyle(host);
  const shards = assignment?.shards.length ?? 1;
  const table = tableLines(
    [
      {
        title: 'STATE',
        cell: (row) => (shards > 1 ? sharingStateText(row) : replicaStateText(row.state)),
        paint: (text, { state }) => paintReplicaState(style, text, state),
      },
      { title: 'INSTANCE', cell: ({ instance }) => printable(instance), flexible: true },
      ...(shards > 1 ? [{ title: 'LEADS', cell: (row: Replica) => leadsText(row, shards) }] : []),
      { title: 'VERSION', cell: ({ version }) => printable(version) },
      { title: 'URL', cell: ({ url }) => printable(url) },
    ],
    replicas,
    tableOptions(host),
  );
  if (assignment && shards > 1) {
    const nowMs = host.clock.now();
    const [first] = leaders;
    return [
      ...table,
      '',
      ...shardLines(assignment, leaders, nowMs, tableOptions(host)),
      '',
      ...(first
        ? factLines(sharedFacts(first), style)
        : [`${printable(replica?.instance ?? 'This replica')} leads no shard; ask those that do for more.`]),
    ];
  }
  if (leader) return [...table, '', ...factLines(leaderFacts(leader, host.clock.now()), style)];
  return [
    ...table,
    '',
    `${printable(replica?.instance ?? 'This replica')} does not lead; ask the one that does for more.`,
  ];
}

/** One that has handed over takes only what nobody else takes. */
function sharingStateText({ state, takesPart }: Replica): string {
  return state === ReplicaState.STANDBY_READY && !takesPart ? '◌ stepped back' : replicaStateText(state);
}

function leadsText({ shards }: Replica, all: number): string {
  return `${shards.length} of ${all}`;
}

function leaderFacts(leader: LeaderStatus, nowMs: number): Facts {
  const behind = leader.frontierTime
    ? `${seconds(nowMs - timestampMs(leader.frontierTime))} behind now`
    : 'not written yet';
  const lease = leader.leaseExpireTime ? `${seconds(timestampMs(leader.leaseExpireTime) - nowMs)} left` : '';
  return [
    ['epoch', String(leader.epoch)],
    ['lease', lease],
    ['watermark', behind],
    [
      'schedules',
      `${leader.schedules}${leader.quarantined > 0n ? `, ${leader.quarantined} quarantined` : ''}`,
    ],
    ['lagging', leader.laggards > 0n ? String(leader.laggards) : ''],
    ['to catch up', leader.backlog > 0n ? `about ${leader.backlog} slots` : ''],
    ['in flight', String(leader.outstanding)],
    ...sharedFacts(leader),
  ];
}

/** What all shards of a replica share. */
function sharedFacts({ breakerState, tokens }: LeaderStatus): Facts {
  return [
    ['breaker', breakerState],
    ['tokens', String(Math.floor(tokens))],
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
