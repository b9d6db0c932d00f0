import { invalidArgument } from '@carillon/core/domain-error.ts';
import type { NewRun } from '@carillon/db/tables/runs.ts';
import { RunOutcome } from '@carillon/gen/carillon/run/v1/run_pb.ts';
import type { CreateRunRequest } from '@carillon/gen/carillon/run/v1/run_service_pb.ts';
import { callOf, toStatus } from '@carillon/server';
import { checkRules } from './create-run-rules.ts';
import { newRunOf } from './new-run.ts';
import { type Creation, MAX_INSERT } from './run-creator.ts';
import { runNameOf } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

/** Creates up to 500 runs; each item succeeds or fails alone. */
export function batchCreateRuns(context: MethodContext): RunMethod<'batchCreateRuns'> {
  const { clock, creator, entropy, validator } = context;

  const newRun = (request: CreateRunRequest, nowMicros: number): NewRun => {
    checkRules(validator, request);
    if (request.validateOnly) {
      throw invalidArgument({
        field: 'validate_only',
        description: 'is not allowed in a batch',
        reason: 'VALIDATE_ONLY_IN_BATCH',
      });
    }
    return newRunOf(request, { nowMicros, entropy });
  };

  return async ({ requests }, handler) => {
    checkBatchSize(requests);
    const nowMicros = clock.now() * 1000;
    const runs: (NewRun | undefined)[] = [];
    const refused: Creation[] = [];
    for (const [index, request] of requests.entries()) {
      try {
        runs[index] = newRun(request, nowMicros);
      } catch (error) {
        refused[index] = { error };
      }
    }
    const created = (await creator.createAll(runs.filter((run) => run !== undefined))).values();
    const { requestId, logger } = callOf(handler);
    return {
      results: requests.map((request, index) => {
        const run = runs[index];
        const creation = run === undefined ? refused[index] : created.next().value;
        const name = run === undefined ? refusedName(request) : runNameOf(run);
        if (run === undefined || creation?.createMicros === undefined) {
          return { name, error: toStatus(creation?.error, { requestId, logger }) };
        }
        return { name, outcome: RunOutcome[creation.decision.outcome] };
      }),
    };
  };
}

/** The name of a request that was refused before it had one. */
function refusedName({ parent, runId }: CreateRunRequest): string {
  return runId === '' ? '' : `${parent}/runs/${runId}`;
}

/** @throws {DomainError} INVALID_ARGUMENT */
function checkBatchSize(requests: readonly unknown[]): void {
  if (requests.length >= 1 && requests.length <= MAX_INSERT) return;
  throw invalidArgument({
    field: 'requests',
    description: `must have 1 to ${MAX_INSERT} items`,
    reason: requests.length === 0 ? 'repeated.min_items' : 'repeated.max_items',
  });
}
