import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { unavailable } from '@carillon/core/domain-error.ts';
import { formatRunName, type ScheduleName } from '@carillon/core/resource-name.ts';
import { flyteRunName, runName } from '@carillon/core/run-name.ts';
import { type Run, RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import { RunService } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type Client, ConnectError, createClient, type Transport } from '@connectrpc/connect';

/** How schedulers name the runs of slots. */
export type RunNameScheme = 'carillon' | 'flyte';

/** A slot whose run is looked for. */
export interface SoughtSlot {
  readonly nominalSec: number;
  /** The task of its revision, which the `flyte` scheme names runs by. */
  readonly task: string;
}

/** The run of a slot. */
export interface SlotRun {
  /** Its resource name. */
  readonly name: string;
  /** When CreateRun was first sent for it, in epoch milliseconds. */
  readonly fireMs: number | undefined;
  /** Its overlap policy decided that it is not executed; then `message` says why. */
  readonly skipped: boolean;
  readonly message: string;
}

/** The most runs that a call asks for. */
export const MAX_SOUGHT = 500;
const CALL_TIMEOUT_MS = 5_000;

/** Finds the runs of slots at the runs service. */
export class SlotRuns {
  readonly #client: Client<typeof RunService>;
  readonly #scheme: RunNameScheme;

  constructor(transport: Transport, scheme: RunNameScheme) {
    this.#client = createClient(RunService, transport);
    this.#scheme = scheme;
  }

  /**
   * The run of each slot of a schedule, in their order; undefined where there is none. At most {@link MAX_SOUGHT} slots.
   *
   * @throws {DomainError} UNAVAILABLE, reason RUNS_UNREACHABLE, if the runs service does not answer.
   */
  async find(
    name: ScheduleName,
    uid: string,
    slots: readonly SoughtSlot[],
  ): Promise<(SlotRun | undefined)[]> {
    if (slots.length === 0) return [];
    const requests = slots.map((slot) => ({
      name: formatRunName({ ...name, runId: this.#runId(name, slot) }),
      nominalTime: timestampFromMs(slot.nominalSec * 1000),
    }));
    const { results } = await this.#client
      .batchGetRuns({ requests }, { timeoutMs: CALL_TIMEOUT_MS })
      .catch((error: unknown) => {
        if (!(error instanceof ConnectError)) throw error;
        throw unavailable(
          'RUNS_UNREACHABLE',
          'the runs service does not answer, so what ran cannot be told',
          undefined,
          error,
        );
      });
    return slots.map((_, index) => {
      const run = results[index]?.run;
      // A Flyte scheduler beside us gives its runs no uid.
      const isOurs = run?.scheduleUid === uid || (this.#scheme === 'flyte' && run?.scheduleUid === '');
      return run !== undefined && isOurs ? slotRun(run) : undefined;
    });
  }

  #runId({ project, domain, scheduleId }: ScheduleName, { nominalSec, task }: SoughtSlot): string {
    const parts = { project, domain, schedule: scheduleId, nominalSec };
    return this.#scheme === 'flyte'
      ? flyteRunName({ ...parts, task })
      : runName({ ...parts, kind: 'slot', id: '' });
  }
}

function slotRun(run: Run): SlotRun {
  return {
    name: run.name,
    fireMs: run.fireTime === undefined ? undefined : timestampMs(run.fireTime),
    skipped: run.outcome === RunOutcome.SKIPPED,
    message: run.error?.message ?? '',
  };
}
