import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type Client, ConnectError } from '@connectrpc/connect';
import type { Host } from '../host.ts';
import { watchRuns } from '../runs/run-feed.ts';
import type { ScheduleWatch } from './schedule-watch.ts';
import type { DevView, SeenRun } from './view/dev-view.ts';

/** What a watch needs. */
export interface RunWatchOptions {
  readonly client: Client<typeof RunService>;
  readonly host: Pick<Host, 'clock' | 'entropy'>;
  readonly schedules: ScheduleWatch;
  readonly view: Pick<DevView, 'run'>;
  readonly signal: AbortSignal;
}

const EVERYWHERE = 'projects/-/domains/-';
const HISTORY = 50;

/** Shows the runs that exist, and then every change, until the signal aborts. */
export async function watchAllRuns({
  client,
  host,
  schedules,
  view,
  signal,
}: RunWatchOptions): Promise<void> {
  const seen = (run: Run): SeenRun => ({ run, latenessMs: latenessOf(run, schedules) });
  const showHistory = async (): Promise<void> => {
    try {
      const { runs } = await client.listRuns(
        { parent: EVERYWHERE, pageSize: HISTORY },
        { signal, timeoutMs: 5_000 },
      );
      for (const run of runs.toReversed()) view.run(seen(run), true);
    } catch (error) {
      // The stream beside it meets the same trouble, and tries again.
      if (!(error instanceof ConnectError)) throw error;
    }
  };
  const feed = watchRuns(
    { parent: EVERYWHERE, schedule: '', names: [] },
    {
      client,
      signal,
      ...host,
      // What changed while nobody watched is in the list.
      onConnection: ({ up }) => {
        if (up) void showHistory();
      },
    },
  );
  for await (const run of feed) view.run(seen(run), false);
}

/** Fire time minus due time; undefined when the due time is not known. */
function latenessOf({ schedule, nominalTime, fireTime }: Run, schedules: ScheduleWatch): number | undefined {
  if (schedule === '' || nominalTime === undefined || fireTime === undefined) return undefined;
  const due = schedules.dueOf(schedule, timestampMs(nominalTime));
  return due === undefined ? undefined : preciseMs(fireTime) - due;
}

/** With the share of a millisecond, which `timestampMs` rounds away. */
function preciseMs(time: { seconds: bigint; nanos: number }): number {
  return Number(time.seconds) * 1_000 + time.nanos / 1e6;
}
