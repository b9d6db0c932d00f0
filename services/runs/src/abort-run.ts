import { notFound, unavailable } from '@carillon/core/domain-error.ts';
import { parseRunName, RUN_RESOURCE } from '@carillon/core/resource-name.ts';
import { isTerminal } from '@carillon/core/run-state.ts';
import { transaction } from '@carillon/db';
import {
  abortWaitingRun,
  type RunRow,
  requestAbort,
  selectRuns,
  selectRunsByName,
} from '@carillon/db/tables/runs.ts';
import { runMessage } from './run-message.ts';
import type { MethodContext, RunMethod } from './run-method.ts';

/** A run that moves on between being read and being aborted is read again, this often. */
const MAX_TRIES = 10;

/** Asks for a run to be stopped. */
export function abortRun({ db, hints, metrics }: MethodContext): RunMethod<'abortRun'> {
  return async ({ name, reason }) => {
    const { project, domain, runId } = parseRunName(name);
    // The newest one of that name; later tries know its day.
    let [run] = await selectRunsByName(db, [{ project, domain, run_id: runId }]);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (run === undefined) throw notFound(RUN_RESOURCE, name);
      if (isTerminal(run.phase) || run.abort_request_micros !== null) return { run: runMessage(run) };
      const seen: RunRow = run;
      const aborted = await transaction(db, {}, (trx) =>
        seen.phase === 'RUNNING' ? requestAbort(trx, seen, reason) : abortWaitingRun(trx, seen, reason),
      );
      if (aborted !== undefined) {
        if (aborted.phase !== seen.phase) metrics.changed([aborted]);
        hints.changed([aborted]);
        return { run: runMessage(aborted) };
      }
      [run] = await selectRuns(db, [seen]);
    }
    throw unavailable('RUN_CONTENDED', 'the run keeps changing; ask again');
  };
}
