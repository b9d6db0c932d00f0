import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Run } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type Client, ConnectError } from '@connectrpc/connect';
import type { Host } from '../host.ts';
import { watchRuns } from '../runs/run-feed.ts';
import type { IdleTimes } from './idle-times.ts';
import type { ScheduleWatch } from './schedule-watch.ts';
import type { DevView, SeenRun } from './view/dev-view.ts';

/** What a watch needs. */
export interface RunWatchOptions {
  readonly client: Client<typeof RunService>;
  readonly host: Pick<Host, 'clock' | 'entropy'>;
  readonly schedules: ScheduleWatch;
  readonly idle: IdleTimes;
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
  idle,
  view,
  signal,
}: RunWatchOptions): Promise<void> {
  const seen = (run: Run): SeenRun => seenRun(run, schedules, idle);
  const showHistory = async (): Promise<void> => {
    try {
      const { runs } = await client.listRuns(
        { parent: EVERYWHERE, pageSize: HISTORY },
        { signal, timeoutMs: 5_000 },
      );
      await schedules.known;
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
  for await (const run of feed) {
    // What is caught up on at a start comes before anybody has said when it was due.
    await schedules.known;
    view.run(seen(run), false);
  }
}

function seenRun(run: Run, schedules: ScheduleWatch, idle: IdleTimes): SeenRun {
  const { schedule, nominalTime, fireTime } = run;
  const due =
    schedule === '' || nominalTime === undefined
      ? undefined
      : schedules.dueOf(schedule, timestampMs(nominalTime));
  if (due === undefined || fireTime === undefined) return { run, latenessMs: undefined, missed: false };
  const latenessMs = preciseMs(fireTime) - due;
  return { run, latenessMs, missed: idle.missed(due, latenessMs) };
}

/** With the share of a millisecond, which `timestampMs` rounds away. */
function preciseMs(time: { seconds: bigint; nanos: number }): number {
  return Number(time.seconds) * 1_000 + time.nanos / 1e6;
}
