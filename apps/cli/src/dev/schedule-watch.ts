import { type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type Clock, sleep } from '@carillon/core/clock.ts';
import { type Schedule, ScheduleState } from '@carillon/gen/carillon/schedule/v1/schedule_pb.ts';
import type { ScheduleService } from '@carillon/gen/carillon/schedule/v1/schedule_service_pb.ts';
import { type Client, ConnectError } from '@connectrpc/connect';
import { patternText } from '../schedules/pattern-text.ts';
import type { DevView, UpcomingFire } from './view/dev-view.ts';

/** What is known of a schedule's near future. */
interface Forecast {
  readonly generation: bigint;
  readonly pattern: string;
  /** Due times ahead and those that passed last, epoch milliseconds, ascending. */
  readonly dues: readonly number[];
  /** Due times by nominal time, of slots ahead and slots that passed last. */
  readonly dueOf: ReadonlyMap<number, number>;
  /** Its slots fall due later than their nominal times. */
  readonly jittered: boolean;
  /** No more slots follow the last one. */
  readonly complete: boolean;
}

/** What a watch needs. */
export interface ScheduleWatchOptions {
  readonly client: Client<typeof ScheduleService>;
  readonly clock: Clock;
  readonly view: Pick<DevView, 'upcoming'>;
  readonly signal: AbortSignal;
}

const POLL_MS = 1_000;
/** Until it has been told of them once. */
const FIRST_POLL_MS = 100;
const CALL_LIMIT_MS = 5_000;
const PAGE = 1_000;
/** More do not fit on a screen; the nearest of these are shown. */
const MOST_FORECASTS = 100;
const IN_FLIGHT = 4;
const SLOTS_AHEAD = 20;
const DUES_KEPT = 200;

/** Keeps the view's list of upcoming fires current, and knows when a slot was due. */
export class ScheduleWatch {
  readonly #options: ScheduleWatchOptions;
  /** Resolves when the schedules are known, or it is too late for that. */
  readonly known: Promise<void>;
  readonly #setKnown: () => void;
  #forecasts = new Map<string, Forecast>();

  constructor(options: ScheduleWatchOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.known = promise;
    this.#setKnown = resolve;
  }

  /** When the slot falls due, epoch milliseconds; undefined if it is not known here. */
  dueOf(schedule: string, nominalMs: number): number | undefined {
    const forecast = this.#forecasts.get(schedule);
    return forecast?.dueOf.get(nominalMs) ?? (forecast?.jittered === false ? nominalMs : undefined);
  }

  /** Looks every second until the signal aborts. While the service is away, what was known stays. */
  async run(): Promise<void> {
    const { clock, signal } = this.#options;
    let pauseMs = FIRST_POLL_MS;
    while (!signal.aborted) {
      try {
        await this.#refresh();
        pauseMs = POLL_MS;
        this.#setKnown();
      } catch (error) {
        // The service's own state is shown beside it; a restart of it is no news here.
        if (!(error instanceof ConnectError)) throw error;
      }
      await sleep(clock, pauseMs, signal).catch(() => undefined);
    }
    this.#setKnown();
  }

  async #refresh(): Promise<void> {
    const { client, view, clock, signal } = this.#options;
    const call = { signal, timeoutMs: CALL_LIMIT_MS };
    const { schedules } = await client.listSchedules(
      { parent: 'projects/-/domains/-', pageSize: PAGE },
      call,
    );
    const active = schedules.filter(({ state }) => state === ScheduleState.ACTIVE).slice(0, MOST_FORECASTS);
    const next = new Map<string, Forecast>();
    const waiting = active.values();
    const worker = async (): Promise<void> => {
      for (const schedule of waiting) next.set(schedule.name, await this.#forecast(schedule));
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    this.#forecasts = next;
    view.upcoming(upcomingFires(next, clock.now()), schedules.length);
  }

  async #forecast(schedule: Schedule): Promise<Forecast> {
    const { client, clock, signal } = this.#options;
    const nowMs = clock.now();
    const known = this.#forecasts.get(schedule.name);
    if (known !== undefined && known.generation === schedule.generation) {
      const ahead = known.dues.filter((due) => due > nowMs).length;
      if (known.complete || ahead > SLOTS_AHEAD / 4) return known;
    }
    const { slots, truncated } = await client.previewSchedule(
      {
        source: { case: 'name', value: schedule.name },
        fromTime: timestampFromMs(Math.floor(nowMs)),
        count: SLOTS_AHEAD,
      },
      { signal, timeoutMs: CALL_LIMIT_MS },
    );
    const dueOf = new Map(known?.dueOf);
    for (const { nominalTime, dueTime } of slots) dueOf.set(msOf(nominalTime), msOf(dueTime));
    for (const nominal of dueOf.keys()) {
      if (dueOf.size <= DUES_KEPT) break;
      dueOf.delete(nominal);
    }
    const last = known?.dues.filter((due) => due <= nowMs).at(-1);
    const dues = [...(last === undefined ? [] : [last]), ...slots.map(({ dueTime }) => msOf(dueTime))];
    return {
      generation: schedule.generation,
      pattern: patternText(schedule.spec),
      dues,
      dueOf,
      jittered: schedule.spec?.jitter !== undefined,
      complete: !truncated,
    };
  }
}

/** The next slot of each schedule, the nearest first. */
function upcomingFires(forecasts: ReadonlyMap<string, Forecast>, nowMs: number): UpcomingFire[] {
  const fires: UpcomingFire[] = [];
  for (const [schedule, { dues, pattern }] of forecasts) {
    const index = dues.findIndex((due) => due > nowMs);
    const dueMs = dues[index];
    if (dueMs === undefined) continue;
    // Without a slot before it, the distance to the one after tells how long the wait is on the whole.
    const before = dues[index - 1] ?? dueMs - ((dues[index + 1] ?? Number.NaN) - dueMs);
    fires.push({ schedule, pattern, dueMs, sinceMs: Number.isNaN(before) ? nowMs : before });
  }
  return fires.sort((a, b) => a.dueMs - b.dueMs || (a.schedule < b.schedule ? -1 : 1));
}

function msOf(time: Timestamp | undefined): number {
  return time === undefined ? 0 : timestampMs(time);
}
