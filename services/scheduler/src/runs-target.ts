import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import {
  BatchCreateRunsRequestSchema,
  BatchGetRunsRequestSchema,
  type CreateRunRequest,
  RunService,
} from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import {
  type Answer,
  createdAnswer,
  isServiceFailure,
  type Refused,
  refusedCall,
  refusedItem,
} from './answer.ts';

/** What became of one request: an answer, or what was refused. */
export type Sent = { readonly answer: Answer } | { readonly refused: Refused };

/** A whole call failed: nothing is known of its requests beyond this. */
export class CallFailedError extends Error {
  override readonly name = 'CallFailedError';
  readonly refused: Refused;

  constructor(cause: unknown) {
    const refused = refusedCall(cause);
    super(refused.message, { cause });
    this.refused = refused;
  }
}

/** A run to look for. */
export interface SoughtRun {
  readonly name: string;
  readonly nominalMs: number;
}

/** A run that was found under the name of a slot's run: another's may have taken it. */
export interface FoundRun {
  readonly scheduleUid: string;
  /** NaN: it has none. */
  readonly nominalMs: number;
  /** Its overlap policy decided that it is not executed. */
  readonly skipped: boolean;
}

/**
 * What a probe says of a name. Undefined: there is no run, and no transaction can still be creating one. `BEYOND_RETENTION`: the same, but there may
 * have been one that was dropped.
 */
export type Probed = FoundRun | 'BEYOND_RETENTION' | undefined;

/** The runs service as the executor calls it. */
export interface RunsTarget {
  /** Creates runs, in one call; a result per request, in their order. Throws CallFailedError if the call as a whole failed. */
  create(requests: readonly CreateRunRequest[], timeoutMs: number): Promise<Sent[]>;
  /** What stands under the names, in one call. */
  probe(runs: readonly SoughtRun[], timeoutMs: number): Promise<Probed[]>;
}

/** A RunService behind a transport. A single run goes as CreateRun, which every implementation has. */
export function createRunsTarget(transport: Transport): RunsTarget {
  const client: Client<typeof RunService> = createClient(RunService, transport);
  return {
    async create(requests, timeoutMs) {
      const [only] = requests;
      if (only && requests.length === 1) {
        try {
          const { outcome } = await client.createRun(only, { timeoutMs });
          return [{ answer: createdAnswer(outcome) }];
        } catch (error) {
          const refused = refusedCall(error);
          if (isWordOnTheRun(refused)) return [{ refused }];
          throw new CallFailedError(error);
        }
      }
      const message = create(BatchCreateRunsRequestSchema);
      message.requests = [...requests];
      const { results } = await client.batchCreateRuns(message, { timeoutMs }).catch((error: unknown) => {
        throw new CallFailedError(error);
      });
      return requests.map((_, index) => {
        const result = results[index];
        if (!result)
          throw new CallFailedError(new Error(`${results.length} results for ${requests.length} requests`));
        return result.error
          ? { refused: refusedItem(result.error) }
          : { answer: createdAnswer(result.outcome) };
      });
    },

    async probe(runs, timeoutMs) {
      const message = create(BatchGetRunsRequestSchema, {
        probe: true,
        requests: runs.map((run) => ({ name: run.name, nominalTime: timestampFromMs(run.nominalMs) })),
      });
      const { results } = await client.batchGetRuns(message, { timeoutMs });
      if (results.length !== runs.length)
        throw new Error(`${results.length} results for ${runs.length} requests`);
      return results.map(({ run, beyondRetention }) => {
        if (run === undefined) return beyondRetention ? 'BEYOND_RETENTION' : undefined;
        return {
          scheduleUid: run.scheduleUid,
          nominalMs: run.nominalTime ? timestampMs(run.nominalTime) : Number.NaN,
          skipped: run.outcome === RunOutcome.SKIPPED,
        };
      });
    },
  };
}

/** Whether the error of a unary call speaks of its run, and not of the call: our own service's word that is not about itself. */
function isWordOnTheRun(refused: Refused): boolean {
  return refused.existing !== undefined || (refused.reason !== undefined && !isServiceFailure(refused));
}
